"""How the scores of an attention are cut into tiles, and each tensor's part of a tile."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

#: Bytes of scores in a tile for each thread: they are to stay in the cache of its core.
BYTES_A_THREAD = 1 << 21
#: Bytes of scores in a tile on a device that has many small units to keep at work.
DEVICE_BYTES = 1 << 26
#: A tile has at least so many queries, whatever it takes: with fewer, products are slow.
MIN_QUERIES = 16


class Heads(NamedTuple):
    """Query heads ``first .. end`` of an example.

    Attributes:
        batch: Index into the first dimension.
        first: The first head.
        end: One past the last.
    """

    batch: int
    first: int
    end: int


class Rows(NamedTuple):
    """Queries ``first .. end`` and the keys that they may see.

    Attributes:
        first: The first query.
        end: One past the last.
        n_keys: How many keys, from the first one.
    """

    first: int
    end: int
    n_keys: int


class Tiling(NamedTuple):
    """How queries ``(B, H, Lq, E)`` and keys ``(B, Hk, Lk, E)`` are cut: a tile is heads and rows.

    Attributes:
        batches: `B`, or 1 where the heads are so small that a tile may reach over examples.
        n_heads: `H`, or ``B * H`` likewise.
        group: So many query heads in a row share a key head.
        n_queries: `Lq`.
        n_keys: `Lk`.
        heads_a_tile: All of them share a key head where `group` is not 1.
        queries_a_tile: Of each head.
        dtype: In which scores are computed.
        device: On which they are.
    """

    batches: int
    n_heads: int
    group: int
    n_queries: int
    n_keys: int
    heads_a_tile: int
    queries_a_tile: int
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, query: Tensor, key: Tensor, attn_mask: Tensor | None) -> "Tiling":
        """Tiles of a head for each thread, or of several where they are small.

        Nothing of the result of an attention depends on them but its rounding.
        """
        batches, n_heads, n_queries = query.shape[:3]
        n_keys, group = key.shape[2], n_heads // key.shape[1]
        dtype = wide(query.dtype)
        threads = torch.get_num_threads() if query.is_cpu else 1
        room = (BYTES_A_THREAD if query.is_cpu else DEVICE_BYTES) // dtype.itemsize // n_keys
        wanted = threads * max(room // n_queries, 1)
        if wanted > n_heads and room > n_queries and _is_mergeable(attn_mask):
            batches, n_heads = 1, batches * n_heads
        most = n_heads if group == 1 else group
        heads_a_tile = min(wanted, most)
        while group % heads_a_tile and group > 1:
            heads_a_tile -= 1
        queries_a_tile = min(max(room * threads // heads_a_tile, MIN_QUERIES), n_queries)
        return cls(
            *(batches, n_heads, group, n_queries, n_keys),
            *(heads_a_tile, queries_a_tile, dtype, query.device),
        )

    def merged(self, x: Tensor) -> Tensor:
        """`x` with its first two dimensions as the tiles count them; a copy if there is no view."""
        return x.flatten(0, 1).unsqueeze(0) if x.shape[0] > self.batches else x

    def heads(self) -> Iterator[Heads]:
        """The heads of the tiles."""
        for batch in range(self.batches):
            for first in range(0, self.n_heads, self.heads_a_tile):
                yield Heads(batch, first, min(first + self.heads_a_tile, self.n_heads))

    def rows(self, is_causal: bool) -> list[Rows]:
        """The rows of the tiles, for any heads; without keys that no query may see."""
        rows = []
        for first in range(0, self.n_queries, self.queries_a_tile):
            end = min(first + self.queries_a_tile, self.n_queries)
            rows.append(Rows(first, end, min(end, self.n_keys) if is_causal else self.n_keys))
        return rows

    def buffers(self, n: int) -> Tensor:
        """Memory for the scores of any `n` tiles: a row each."""
        numel = self.heads_a_tile * self.queries_a_tile * self.n_keys
        return torch.empty(n, numel, dtype=self.dtype, device=self.device)

    def key_part(self, x: Tensor, heads: Heads) -> Tensor:
        """Of ``(B, Hk, ...)``, the key heads of query heads: all, or the one that they share."""
        if self.group == 1:
            return x[heads.batch, heads.first : heads.end]
        first = heads.first // self.group
        return x[heads.batch, first : first + 1]

    def folded(self, x: Tensor) -> Tensor:
        """``(n, R, ...)`` of a tile; ``(1, n * R, ...)`` where its heads share their keys."""
        return x if self.group == 1 else x.flatten(0, 1).unsqueeze(0)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which scores are computed: float32 for halves."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tile_of(buffer: Tensor, heads: Heads, rows: Rows) -> Tensor:
    """The ``(n, R, C)`` scores of a tile in a buffer."""
    n, n_rows = heads.end - heads.first, rows.end - rows.first
    return buffer[: n * n_rows * rows.n_keys].view(n, n_rows, rows.n_keys)


def query_part(x: Tensor, heads: Heads) -> Tensor:
    """Of ``(B, H, ...)``, the heads of a tile."""
    return x[heads.batch, heads.first : heads.end]


def mask_part(x: Tensor, heads: Heads, rows: Rows) -> Tensor:
    """The tile's ``(n or 1, R or 1, C or 1)`` of ``(B or 1, H or 1, Lq or 1, Lk or 1)``."""
    x = x[heads.batch if x.shape[0] > 1 else 0]
    if x.shape[0] > 1:
        x = x[heads.first : heads.end]
    if x.shape[1] > 1:
        x = x[:, rows.first : rows.end]
    return x[..., : rows.n_keys]  # all of a single one


def _is_mergeable(attn_mask: Tensor | None) -> bool:
    if attn_mask is None:
        return True
    batches, heads = attn_mask.shape[:2]
    return batches == heads == 1 or (batches > 1 and heads > 1)
