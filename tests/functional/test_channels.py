"""`dropout1d`, `dropout2d`, `dropout3d` drop whole channels as torch's functions do."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit import Address, masks_at
from dropkit.errors import ShapeError
from dropkit.functional import dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout

ADDRESS = Address.from_seed(1).fold("channels")
PAIRS: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]] = [
    (dropout1d, F.dropout1d),
    (dropout2d, F.dropout2d),
    (dropout3d, F.dropout3d),
    (feature_alpha_dropout, F.feature_alpha_dropout),
]


def _said(function: Callable[..., Tensor], x: Tensor, training: bool) -> list[tuple[Any, str]]:
    """What a call warns of, and what it raises at last: (builtin class, text)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function(x, 0.5, training)
        except RuntimeError as error:
            return [*((w.category, str(w.message)) for w in caught), (RuntimeError, str(error))]
    return [(w.category, str(w.message)) for w in caught]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dim", range(7))
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_dimensions(pair: Any, dim: int, training: bool) -> None:
    """Any number of dimensions is served, warned of or refused as by torch, in its words."""
    ours, theirs = pair
    x = torch.ones([2] * dim)
    assert _said(theirs, x, training) == _said(ours, x, training)


def test_refusals_are_ours_too() -> None:
    """What torch refuses with RuntimeError is a ShapeError, which is one."""
    with pytest.raises(ShapeError, match=r"^dropout1d: Expected 2D or 3D input, but received a 4D"):
        dropout1d(torch.ones(1, 2, 3, 4))
    with pytest.raises(ShapeError, match=r"^Feature dropout requires at least 2 dimensions in the"):
        feature_alpha_dropout(torch.ones(3), 0.5, True)


def test_warning_points_at_the_caller() -> None:
    """The file that a warning names is the one that called."""
    with pytest.warns(UserWarning, match="2-D input to dropout2d") as caught:
        dropout2d(torch.ones(2, 3))
    assert __file__ == caught[0].filename


SHAPES = [
    (dropout1d, (4, 6, 3)),
    (dropout2d, (4, 6, 3, 2)),
    (dropout3d, (4, 6, 2, 1, 3)),
]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(("function", "shape"), SHAPES)
def test_channels(function: Any, shape: tuple[int, ...], inplace: bool) -> None:
    """Element ``n * C + c`` of the mask decides on channel `c` of example `n`."""
    x = torch.linspace(1, 2, math.prod(shape)).reshape(shape)
    decides = dropout(torch.ones(4, 6), 0.5, address=ADDRESS)  # by 0 or 2, which is exact
    expected = x * decides.reshape(4, 6, *[1] * (len(shape) - 2))
    given = x.clone()
    found = function(given, 0.5, True, inplace, address=ADDRESS)
    assert torch.equal(expected, found)
    assert inplace == (found is given)
    assert 5 < int(decides.count_nonzero()) < 19


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(("function", "shape"), [SHAPES[0], SHAPES[2]])
def test_without_batch(function: Any, shape: tuple[int, ...], inplace: bool) -> None:
    """An example alone is a batch of one: same mask, same gradient, and `rows` names it."""
    x = torch.linspace(1, 2, math.prod(shape[1:])).reshape(shape[1:]).requires_grad_()
    for rows in (None, 3, [7]):
        with masks_at(seed=1, rows=rows):
            alone = function(x * 1, 0.5, True, inplace)
        with masks_at(seed=1, rows=rows):
            batch = function(x.unsqueeze(0), 0.5)
        assert torch.equal(batch[0], alone)
        gradients = [torch.autograd.grad(y.sin().sum(), x)[0] for y in (batch, alone)]
        assert torch.equal(*gradients)


def test_three_dimensions_of_dropout2d() -> None:
    """They are ``(N, C, L)``, until torch changes that."""
    x = torch.linspace(1, 2, 60).reshape(3, 4, 5)
    with pytest.warns(UserWarning, match="assuming that channel-wise 1D dropout"):
        assert torch.equal(dropout1d(x, address=ADDRESS), dropout2d(x, address=ADDRESS))


def test_two_dimensions_are_elementwise() -> None:
    """Channels of ``(N, C)`` are its elements: the ordinary call, bit for bit."""
    x = torch.linspace(1, 2, 12).reshape(3, 4)
    with pytest.warns(UserWarning, match="2-D input to dropout2d"):
        assert torch.equal(dropout(x, address=ADDRESS), dropout2d(x, address=ADDRESS))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layout(memory_format: torch.memory_format) -> None:
    """Strides change no mask, and the output is laid out as torch's."""
    x = torch.linspace(1, 2, 2 * 6 * 4 * 5).reshape(2, 6, 4, 5).to(memory_format=memory_format)
    for layout in (x, x.permute(2, 0, 3, 1), x.transpose(2, 3)):
        ours, theirs = dropout2d(layout, address=ADDRESS), F.dropout2d(layout)
        assert theirs.stride() == ours.stride()
        assert torch.equal(dropout2d(layout.contiguous(), address=ADDRESS), ours)


def test_rate_1_and_0() -> None:
    """At rate 1 all are +0, nans too; at rate 0 and in eval the very same object comes back."""
    x = torch.full((2, 3, 4), torch.nan)
    y = dropout1d(x, 1.0)
    assert {0.0} == set(y.flatten().tolist())
    assert not y.signbit().any()
    assert dropout1d(x, 0.0) is x
    assert dropout1d(x, 1.0, False) is x


def test_rows() -> None:
    """An example's channels do not depend on its batch."""
    with masks_at(seed=1):
        whole = dropout2d(torch.ones(8, 5, 2, 2), 0.5)
    with masks_at(seed=1, rows=[6, 2]):
        assert torch.equal(whole[[6, 2]], dropout2d(torch.ones(2, 5, 2, 2), 0.5))
