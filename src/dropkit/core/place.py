"""Where the elements of a tensor sit in the noise tensor that a mask is cut from."""

from collections.abc import Iterable
from typing import NamedTuple

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
