"""`rows` says which examples a batch holds: an example's mask does not depend on its batch."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dropkit
from dropkit import masks_at
from dropkit.errors import AddressError
from dropkit.functional import dropout


def _masks(n: int, rows: Any, *inner: int, times: int = 1) -> Tensor:
    with masks_at(seed=5, step=6, rows=rows):
        return dropout(torch.ones(n * times, *inner), 0.5)


@pytest.mark.parametrize("inner", [(), (1,), (9,), (3, 5)])
@pytest.mark.parametrize("first", [0, 3, 7])
def test_micro_batches(inner: tuple[int, ...], first: int) -> None:
    """A first index, a range, a list and a tensor of ids all give that slice of the batch."""
    whole = _masks(10, 0, *inner)
    ids = range(first, first + 3)
    part = whole[first : first + 3].tolist()
    for rows in (first, ids, list(ids), tuple(ids), torch.tensor(ids), torch.tensor(ids).int()):
        assert part == _masks(3, rows, *inner).tolist()


def test_first_index_0_is_the_default() -> None:
    """Where a batch begins at example 0 its masks are those without `rows`."""
    assert _masks(10, None, 7).tolist() == _masks(10, 0, 7).tolist()


def test_order_does_not_matter() -> None:
    """Shuffling a batch shuffles its masks."""
    order = torch.tensor([4, 0, 2, 3, 1])
    assert torch.equal(_masks(5, range(5), 8)[order], _masks(5, order, 8))


def test_company_does_not_matter() -> None:
    """An example keeps its mask among other examples."""
    assert torch.equal(_masks(3, [8, 5, 2], 8)[1], _masks(4, [1, 7, 9, 5], 8)[3])


def test_ids_are_far_apart() -> None:
    """Large ids, as of a data set, are different examples."""
    masks = _masks(3, [0, 1, 10**12], 64)
    assert 3 == len({tuple(mask) for mask in masks.tolist()})


def test_flattened_is_read_batch_major() -> None:
    """A ``(B * T, D)`` tensor is B examples of T rows each, and like ``(B, T, D)``."""
    ids = [7, 2, 5]
    whole = _masks(10, range(10), 4, 6)
    flat = _masks(3, ids, 6, times=4)
    assert torch.equal(whole[ids].reshape(12, 6), flat)


def test_layers_use_rows() -> None:
    """Rows reach layers at their own sites, at each call."""
    model = torch.nn.Sequential(dropkit.nn.Dropout(0.5), dropkit.nn.Dropout(0.3))
    with masks_at(seed=1):
        whole = [model(torch.ones(6, 9)), model(torch.ones(6, 9))]
    with masks_at(seed=1, rows=range(2, 5)):
        part = [model(torch.ones(3, 9)), model(torch.ones(3, 9))]
    assert [mask[2:5].tolist() for mask in whole] == [mask.tolist() for mask in part]


def test_gradient_uses_rows() -> None:
    """Backward finds the examples again."""
    x = torch.ones(3, 40, requires_grad=True)
    with masks_at(seed=1, rows=[9, 4, 9]):
        y = dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(y.detach(), x.grad)
    assert torch.equal(x.grad[0], x.grad[2])


def test_strided_batch() -> None:
    """Strides of the batch change nothing."""
    with masks_at(seed=5, step=6, rows=[3, 1]):
        strided = dropout(torch.ones(9, 2).t(), 0.5)
    assert torch.equal(_masks(2, [3, 1], 9), strided)


def test_tensors_without_rows() -> None:
    """A scalar and an empty tensor have no examples, and are no error."""
    with masks_at(seed=1, rows=[1, 2]):
        assert () == dropout(torch.ones(()), 0.5).shape
        assert (0, 3) == dropout(torch.ones(0, 3), 0.5).shape


def test_ids_are_taken_when_the_block_is_made() -> None:
    """Changing an id tensor inside the block does not change its masks."""
    ids = torch.tensor([1, 2])
    with masks_at(seed=5, step=6, rows=ids):
        ids.fill_(0)
        y = dropout(torch.ones(2, 9), 0.5)
    assert torch.equal(_masks(2, [1, 2], 9), y)


@pytest.mark.parametrize("shape", [(4, 2), (1,), (7,)])
def test_mismatch(shape: tuple[int, ...]) -> None:
    """A batch that ids do not fit is refused with both sizes."""
    message = (
        "`rows` must name the examples that the first dimension holds; got 3 of them "
        f"for a tensor of shape {shape}. Give one an example of the batch."
    )
    with (
        masks_at(seed=1, rows=[1, 2, 3]),
        pytest.raises(AddressError, match="^" + re.escape(message) + "$"),
    ):
        dropout(torch.ones(shape), 0.5)


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([0.5, 1.5], "(2,) of float64"),
        (torch.ones(3, dtype=torch.float64), "(3,) of float64"),
        (torch.ones(2, 2, dtype=torch.int64), "(2, 2) of int64"),
        (torch.tensor(3), "() of int64"),
        (torch.ones(2, dtype=torch.complex64), "(2,) of complex64"),
        (torch.empty(0, dtype=torch.int64), "(0,) of int64"),
    ],
)
def test_bad_rows(rows: Any, shown: str) -> None:
    """What names no examples is refused where the block is made."""
    message = f"`rows` must be a first index, or one whole number an example; got {shown}."
    with pytest.raises(AddressError, match="^" + re.escape(message) + "$"):
        masks_at(seed=1, rows=rows)


@pytest.mark.parametrize("rows", [1.5, "ab", [[1], [2, 3]], torch.tensor([True, False])])
def test_nonsense_rows(rows: Any) -> None:
    """Anything else is an AddressError that begins with the rule, not an error of torch's."""
    with pytest.raises(
        AddressError, match=r"^`rows` must be a first index, or one whole number an"
    ):
        masks_at(seed=1, rows=rows)


def test_first_index_of_numpys() -> None:
    """Integers of numpy's are whole numbers here too."""
    assert torch.equal(_masks(3, 4, 9), _masks(3, np.int64(4), 9))
