"""How the scores of an attention are cut into tiles, and each tensor's part of a tile."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

#: Bytes of scores in a tile: it is to stay in the caches of the cores that work on it.
TILE_BYTES = 1 << 22
#: The same where a tile is not for a cache, but to keep the many units of a device at work.
DEVICE_TILE_BYTES = 1 << 26
#: With so many queries of a head a product is as fast as it gets; then more heads are better.
GOOD_QUERIES = 128
#: A tile has at least so many queries, whatever it takes: with fewer, products are slow.
MIN_QUERIES = 16


class Tile(NamedTuple):
    """Queries ``first_query .. end_query`` of heads ``first_head .. end_head``, and their keys.

    Attributes:
        batch: Index into the first dimension.
        first_head: Of the queries.
        end_head: Likewise, exclusive.
        first_query: Of each head.
        end_query: Likewise, exclusive.
        n_keys: How many keys, from the first one.
    """

    batch: int
    first_head: int
    end_head: int
    first_query: int
    end_query: int
    n_keys: int


class Tiling(NamedTuple):
    """How queries ``(B, H, Lq, E)`` and keys ``(B, Hk, Lk, E)`` are cut.

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
        """Tiles of about `TILE_BYTES`; nothing of the result of an attention depends on them."""
        batches, n_heads, n_queries = query.shape[:3]
        n_keys, group = key.shape[2], n_heads // key.shape[1]
        dtype = wide(query.dtype)
        room = (TILE_BYTES if query.is_cpu else DEVICE_TILE_BYTES) // dtype.itemsize // n_keys
        if room // n_queries > n_heads and _is_mergeable(attn_mask):
            batches, n_heads = 1, batches * n_heads
        most = n_heads if group == 1 else group
        heads_a_tile = min(max(room // min(n_queries, GOOD_QUERIES), 1), most)
        while most % heads_a_tile and group > 1:
            heads_a_tile -= 1
        queries_a_tile = min(max(room // heads_a_tile, MIN_QUERIES), n_queries)
        return cls(
            *(batches, n_heads, group, n_queries, n_keys),
            *(heads_a_tile, queries_a_tile, dtype, query.device),
        )

    def merged(self, x: Tensor) -> Tensor:
        """`x` with its first two dimensions as the tiles count them; a copy if there is no view."""
        return x.flatten(0, 1).unsqueeze(0) if x.shape[0] > self.batches else x

    def tiles(self, is_causal: bool) -> Iterator[Tile]:
        """All tiles, those of the same heads in a row; without keys that no query may see."""
        for batch in range(self.batches):
            for head in range(0, self.n_heads, self.heads_a_tile):
                end_head = min(head + self.heads_a_tile, self.n_heads)
                for query in range(0, self.n_queries, self.queries_a_tile):
                    end_query = min(query + self.queries_a_tile, self.n_queries)
                    n_keys = min(end_query, self.n_keys) if is_causal else self.n_keys
                    yield Tile(batch, head, end_head, query, end_query, n_keys)

    def buffer(self) -> Tensor:
        """Memory for the scores of any one tile."""
        numel = self.heads_a_tile * self.queries_a_tile * self.n_keys
        return torch.empty(numel, dtype=self.dtype, device=self.device)

    def keys(self, x: Tensor, tile: Tile) -> Tensor:
        """The tile's ``(n or 1, C, ...)`` of ``(B, Hk, Lk, ...)``: 1 where its heads share them."""
        first, end = tile.first_head, tile.end_head
        if self.group > 1:
            first //= self.group
            end = first + 1
        return x[tile.batch, first:end, : tile.n_keys]

    def folded(self, x: Tensor) -> Tensor:
        """``(n, R, ...)`` of a tile as its keys see it: ``(1, n * R, ...)`` where they are shared."""
        return x.flatten(0, 1).unsqueeze(0) if self.group > 1 else x


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which scores are computed: float32 for halves."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def shaped(buffer: Tensor, tile: Tile) -> Tensor:
    """The tile ``(n, R, C)`` in a buffer."""
    n, rows = tile.end_head - tile.first_head, tile.end_query - tile.first_query
    return buffer[: n * rows * tile.n_keys].view(n, rows, tile.n_keys)


def queries(x: Tensor, tile: Tile) -> Tensor:
    """The tile's ``(n, R, ...)`` of ``(B, H, Lq, ...)``."""
    return x[tile.batch, tile.first_head : tile.end_head, tile.first_query : tile.end_query]


def mask_part(x: Tensor, tile: Tile) -> Tensor:
    """The tile's ``(n or 1, R or 1, C or 1)`` of ``(B or 1, H or 1, Lq or 1, Lk or 1)``."""
    x = x[tile.batch if x.shape[0] > 1 else 0]
    if x.shape[0] > 1:
        x = x[tile.first_head : tile.end_head]
    if x.shape[1] > 1:
        x = x[:, tile.first_query : tile.end_query]
    return x[..., : tile.n_keys]  # all of a single one


def _is_mergeable(attn_mask: Tensor | None) -> bool:
    if attn_mask is None:
        return True
    batches, heads = attn_mask.shape[:2]
    return batches == heads == 1 or (batches > 1 and heads > 1)
