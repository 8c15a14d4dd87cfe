"""DropBlock drops whole blocks, with torchvision's arguments and scale."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from dropkit import Address, masks_at
from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError, RateError, ShapeError
from dropkit.functional import drop_block2d, drop_block3d, dropout

ADDRESS = Address.from_seed(5)


def _gamma(p: float, sides: tuple[int, ...], block_size: int) -> float:
    """The chance of a block to be dropped, as published."""
    gamma = p
    for side in sides:
        gamma *= side / (block_size * (side - block_size + 1))
    return gamma


def _by_hand(x: Tensor, p: float, block_size: int, eps: float = 1e-6) -> Tensor:
    """Block by block, in loops; where blocks begin is an ordinary mask at the rate gamma."""
    sides = tuple(x.shape[2:])
    places = [side - block_size + 1 for side in sides]
    begins = dropout(
        torch.ones(*x.shape[:2], *places), _gamma(p, sides, block_size), address=ADDRESS
    )
    kept = torch.ones(x.shape)
    for n, c in itertools.product(*map(range, x.shape[:2])):
        for place in itertools.product(*map(range, places)):
            if begins[(n, c, *place)] == 0:
                kept[(n, c, *(slice(at, at + block_size) for at in place))] = 0
    return x * kept * (kept.numel() / (eps + kept.sum()))


@pytest.mark.parametrize(
    ("function", "shape", "block_size"),
    [
        (drop_block2d, (2, 3, 7, 9), 1),
        (drop_block2d, (2, 3, 7, 9), 2),
        (drop_block2d, (2, 3, 7, 9), 3),
        (drop_block2d, (2, 3, 7, 9), 7),
        (drop_block3d, (2, 2, 5, 4, 6), 1),
        (drop_block3d, (2, 2, 5, 4, 6), 2),
        (drop_block3d, (2, 2, 5, 4, 6), 3),
        (drop_block3d, (2, 2, 4, 4, 4), 4),
    ],
)
@pytest.mark.parametrize("p", [0.2, 0.6])
def test_blocks_one_by_one(
    function: Callable[..., Tensor], shape: tuple[int, ...], block_size: int, p: float
) -> None:
    """It is what dropping block by block gives, and the scale is of the whole batch."""
    x = torch.rand(shape) + 1
    found = function(x, p, block_size, address=ADDRESS)
    torch.testing.assert_close(found, _by_hand(x, p, block_size))


@pytest.mark.parametrize(("function", "n"), [(drop_block2d, 2), (drop_block3d, 3)])
def test_inplace_and_training(function: Callable[..., Tensor], n: int) -> None:
    """In place the input itself comes back, changed; out of training untouched."""
    x = torch.rand(2, 2, *[5] * n)
    expected = function(x, 0.5, 3, address=ADDRESS)
    changed = x.clone()
    assert function(changed, 0.5, 3, True, address=ADDRESS) is changed
    assert torch.equal(expected, changed)
    assert function(x, 0.5, 3, training=False) is x
    assert function(x, 0.0, 3) is x


def test_mean_is_kept() -> None:
    """What is kept is scaled by all elements over those kept, so that ones keep their mean."""
    y = drop_block2d(torch.ones(4, 4, 12, 12), 0.4, 3, address=ADDRESS)
    torch.testing.assert_close(y.mean(), torch.tensor(1.0))


def test_eps() -> None:
    """It is added to the number of elements kept."""
    y = drop_block2d(torch.ones(1, 1, 6, 6), 0.3, 2, eps=7.0, address=ADDRESS)
    kept = int(y.count_nonzero())
    assert 0 < kept < 36
    torch.testing.assert_close(y.max(), torch.tensor(36 / (7 + kept)))


@pytest.mark.parametrize("at", [(0, 0), (1, 3), (4, 4)])
def test_chance_of_an_element(at: tuple[int, int], seed: int, false_alarm: float) -> None:
    """An element is kept where none of the blocks that reach it is dropped: exactly binomial."""
    side, block_size, p, n = 9, 3, 0.3, 1 << 15
    y = drop_block2d(torch.ones(n, 1, side, side), p, block_size)
    gamma = threshold_from_rate(_gamma(p, (side, side), block_size)) / 65536
    reach = 1
    for i in at:
        reach *= len([b for b in range(side - block_size + 1) if b <= i < b + block_size])
    kept = int(y[:, 0, at[0], at[1]].count_nonzero())
    p_value = stats.binomtest(kept, n, (1 - gamma) ** reach).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_share_is_about_p() -> None:
    """Gamma makes the dropped share about `p`, and less by what blocks lie over each other."""
    y = drop_block2d(torch.ones(256, 1, 56, 56), 0.1, 7, address=ADDRESS)
    assert 0.08 < float((y == 0).float().mean()) < 0.1


def test_rows_of_examples() -> None:
    """An example's blocks do not depend on its batch, where it is named; their scale does."""
    x = torch.ones(4, 2, 6, 6)
    with masks_at(1, rows=[3, 1, 4, 9]):
        whole = drop_block2d(x, 0.4, 3)
    with masks_at(1, rows=[4]):
        part = drop_block2d(x[:1], 0.4, 3)
    assert torch.equal(whole[2:3] == 0, part == 0)


def test_nothing_to_drop_from() -> None:
    """An empty batch comes back."""
    assert (0, 3, 5, 5) == drop_block2d(torch.ones(0, 3, 5, 5), 0.5, 3).shape


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"p": 1.5}, RateError, "`p` must be a drop rate in [0, 1]; got 1.5."),
        (
            {"block_size": 0},
            OptionError,
            "`block_size` must be a whole number from 1 on; got 0.",
        ),
        (
            {"block_size": 3.0},
            OptionError,
            "`block_size` must be a whole number from 1 on; got 3.0.",
        ),
        (
            {"block_size": 5},
            OptionError,
            "`block_size` must be at most the least of H, W of `input`, 4; got 5.",
        ),
        (
            {"input": torch.ones(3, 4, 5)},
            ShapeError,
            "`input` must be (N, C, H, W); got shape (3, 4, 5).",
        ),
    ],
)
def test_arguments_are_checked(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """A wrong argument is refused in one sentence."""
    usual = {"input": torch.ones(1, 1, 4, 5), "p": 0.5, "block_size": 3}
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        drop_block2d(**usual | arguments)


def test_three_sides_are_named() -> None:
    """The message of the other function names its own sides."""
    message = "`input` must be (N, C, D, H, W); got shape (1, 1, 4, 5)."
    with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
        drop_block3d(torch.ones(1, 1, 4, 5), 0.5, 3)
