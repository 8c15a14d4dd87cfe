"""Where the elements of a tensor sit in the noise tensor that a mask is cut from."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Place(NamedTuple):
    """A tensor seen as (rows, inner).

    Its element ``(r, c)`` has the global index ``row_index(r) * row_stride + column_offset + c``
    (mod 2**64).

    Attributes:
        rows: Number of rows; ``inner`` is the number of elements over `rows`.
        row_stride: Elements a row of the whole tensor.
        first_row: ``row_index(r) = first_row + r``, unless `row_ids` is given.
        column_offset: Column at which this tensor's columns begin.
        row_ids: ``(rows,)`` int64 on the CPU: ``row_index(r) = row_ids[r]``.
    """

    rows: int
    row_stride: int
    first_row: int = 0
    column_offset: int = 0
    row_ids: Tensor | None = None

    @classmethod
    def whole(cls, numel: int) -> "Place":
        """The plain row-major index: one row that holds everything."""
        return cls(rows=1, row_stride=numel)

    def row_indices(self) -> Iterable[int]:
        """``row_index(r)`` for each row in order."""
        if self.row_ids is not None:
            return [int(row) for row in self.row_ids.tolist()]
        return range(self.first_row, self.first_row + self.rows)

    def row_tensor(self) -> Tensor:
        """``row_index(r)`` for each row: ``(rows,)`` int64 on the CPU, modulo 2**64."""
        if self.row_ids is not None:
            return self.row_ids
        first = self.first_row - (1 << 64) if self.first_row >= 1 << 63 else self.first_row
        return torch.arange(self.rows, device="cpu").add_(first)


class TileMask(NamedTuple):
    """Where the rows of a tile ``(n, R, C)`` sit in the matrix that the mask is cut from.

    Row ``(h, r)`` begins at element ``(heads[h] * n_queries + first_query + r) * n_keys``.

    Attributes:
        heads: ``(n,)`` int64 on the CPU.
        first_query: Of the tile.
        n_queries: Of the whole matrix.
        n_keys: Likewise; a tile may have fewer columns.
        is_causal: Row ``r`` sees the columns ``0 .. first_query + r`` only.
        key: Of the mask's address.
        stream: Likewise.
        threshold: Drop rate times 65536, in 1..65536.
    """

    heads: Tensor
    first_query: int
    n_queries: int
    n_keys: int
    is_causal: bool
    key: int
    stream: int
    threshold: int
