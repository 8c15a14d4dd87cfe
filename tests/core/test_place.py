"""A shard, a micro-batch or one example draws the bits it would draw in the whole tensor."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dropkit.core.place import Place

Draw = Callable[..., Tensor]

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
KEY, STREAM, HALF = 21, 22, 32768


@pytest.fixture
def whole(twin_draw: Draw) -> Tensor:
    """Twelve rows of 35: the mask that the shards are cut from."""
    return twin_draw(torch.ones(12, 35), Place.whole(12 * 35), HALF, KEY, STREAM)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("first", "rows"), [(0, 12), (0, 5), (5, 7), (11, 1), (3, 0)])
def test_row_shard(
    core_draw: Draw, whole: Tensor, isa: str, dtype: torch.dtype, first: int, rows: int
) -> None:
    """Rows from `first_row` on are that slice of the whole."""
    x = torch.ones(rows, 35, dtype=dtype)
    y = core_draw(isa, 1, x, Place(rows, 35, first_row=first), HALF, KEY, STREAM)
    assert whole[first : first + rows].tolist() == y.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("begin", "end"), [(0, 35), (0, 8), (8, 35), (13, 14), (34, 35)])
def test_column_shard(
    core_draw: Draw, whole: Tensor, isa: str, dtype: torch.dtype, begin: int, end: int
) -> None:
    """Columns from `column_offset` on are that slice of the whole."""
    x = torch.ones(12, end - begin, dtype=dtype)
    y = core_draw(isa, 1, x, Place(12, 35, column_offset=begin), HALF, KEY, STREAM)
    assert whole[:, begin:end].tolist() == y.tolist()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ids", [[0], [7, 3, 3, 11], list(range(11, -1, -1))])
def test_rows_by_id(core_draw: Draw, whole: Tensor, isa: str, threads: int, ids: list[int]) -> None:
    """Rows with ids are those rows of the whole, in any order and as often as asked."""
    place = Place(len(ids), 35, row_ids=torch.tensor(ids))
    y = core_draw(isa, threads, torch.ones(len(ids), 35), place, HALF, KEY, STREAM)
    assert whole[ids].tolist() == y.tolist()


@given(
    rows=st.integers(1, 6),
    inner=st.integers(1, 70),
    stride=st.one_of(st.integers(0, 80), st.integers(0, (1 << 63) - 1)),
    first=st.integers(0, (1 << 64) - 1),
    offset=st.one_of(st.integers(0, 9), st.integers(0, (1 << 64) - 1)),
    by_id=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
@settings(max_examples=150)
def test_any_place_is_the_twins(
    core_draw: Draw,
    twin_draw: Draw,
    isa: str,
    rows: int,
    inner: int,
    stride: int,
    first: int,
    offset: int,
    by_id: bool,
    threads: int,
) -> None:
    """Any rows, ids, stride and offset are the twin's; sums wrap at 2**64."""
    ids = torch.tensor([(first + 3 * r) % (1 << 63) for r in range(rows)])
    place = Place(rows, stride, first, offset, ids if by_id else None)
    x = torch.ones(rows, inner)
    twin = twin_draw(x, place, HALF, KEY, STREAM)
    assert twin.tolist() == core_draw(isa, threads, x, place, HALF, KEY, STREAM).tolist()


@pytest.mark.parametrize(("rows", "inner"), [(7, 20_011), (20_011, 7), (100_003, 1)])
def test_rows_across_chunks(
    core_draw: Draw, twin_draw: Draw, isa: str, rows: int, inner: int
) -> None:
    """Long and short rows are right where threads meet in the middle of them."""
    ids = torch.arange(rows).flip(0)
    place = Place(rows, inner + 3, column_offset=2, row_ids=ids)
    x = torch.ones(rows, inner)
    twin = (
        twin_draw(x, place, HALF, KEY, STREAM) if rows < 100 else _by_index(twin_draw, ids, inner)
    )
    assert torch.equal(twin, core_draw(isa, 2, x, place, HALF, KEY, STREAM))


def _by_index(twin_draw: Draw, ids: Tensor, inner: int) -> Tensor:
    """The same by slicing one long draw: the twin is slow where rows are many."""
    rows = len(ids)
    long = twin_draw(
        torch.ones(rows, inner + 3), Place.whole(rows * (inner + 3)), HALF, KEY, STREAM
    )
    return long[ids, 2 : 2 + inner]
