"""Alpha dropout keeps mean 0 and variance 1, exactly and as drawn."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from scipy import stats
from torch import Tensor

from dropkit import Address, effective_rate
from dropkit.core import reference
from dropkit.core.laws import LAWS
from dropkit.core.ops import mask_tensor
from dropkit.core.place import Place
from dropkit.core.rate import threshold_from_rate
from dropkit.functional import alpha_dropout, dropout, feature_alpha_dropout

ADDRESS = Address.from_seed(1).fold("alpha")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
RATES = [2**-16, 0.05, 0.2, 0.5, 0.9]
N = 1 << 16


def _by_hand(x: Tensor, p: float, address: Address) -> Tensor:
    """The definition, in float32 for halves; the slow twin draws."""
    threshold, n = threshold_from_rate(p), x.numel()
    keep = reference.keep_mask(address.key, address.stream, threshold, Place.whole(n), n)
    p, s = effective_rate(p), 1.6732632423543772 * 1.0507009873554805
    a = 1 / math.sqrt((1 - p) * (1 + p * s * s))
    wide = x if x.dtype == torch.float64 else x.float()
    a_wide, shift, fill = (
        torch.tensor(number, dtype=wide.dtype) for number in (a, a * p * s, a * (p - 1) * s)
    )
    return torch.where(keep.view(x.shape), wide * a_wide + shift, fill).to(x.dtype)


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_definition(dtype: torch.dtype, p: float, bits: Any) -> None:
    """Bit for bit the formula, with product and sum each rounded."""
    x = torch.linspace(-3, 3, 300).to(dtype).reshape(20, 15)
    assert bits(_by_hand(x, p, ADDRESS)) == bits(alpha_dropout(x, p, True, address=ADDRESS))
    given = x.clone()
    assert alpha_dropout(given, p, True, True, address=ADDRESS) is given
    assert bits(_by_hand(x, p, ADDRESS)) == bits(given)


@pytest.mark.parametrize("p", RATES)
def test_moments_by_the_formula(p: float) -> None:
    """What mean 0 and variance 1 turn into is mean 0 and variance 1, in exact arithmetic."""
    p, law = effective_rate(p), LAWS["alpha"](threshold_from_rate(p))
    mean = (1 - p) * law.shift + p * law.fill
    square = (1 - p) * (law.gain**2 + law.shift**2) + p * law.fill**2
    assert (0.0, 1.0) == pytest.approx((mean, square), abs=1e-14)


def _moment_pvalue(y: Tensor, values: Any, p: float, power: int) -> float:
    """How likely the mean of ``y ** power`` lies at least as far from 0, or from 1.

    Exact: `y` comes from equally many inputs of -1 and of 1, so that mean is a sum over two
    independent binomial counts; those more than 12 standard deviations off are left out.
    """
    n = y.numel() // 2
    low, high, fill = values
    law = stats.binom(n, 1 - p)
    around, spread = round(law.mean()), math.ceil(12 * law.std())
    kept = np.arange(max(0, around - spread), min(n, around + spread) + 1)
    total = (
        kept[:, None] * (low**power - fill**power)
        + kept[None, :] * (high**power - fill**power)
        + 2 * n * fill**power
    )
    expected = 2 * n * (power - 1)
    off = abs(float((y.double() ** power).sum()) - expected)
    chance = np.outer(law.pmf(kept), law.pmf(kept))
    return float(chance[np.abs(total - expected) >= off * (1 - 1e-12)].sum())


def _signs() -> Tensor:
    return torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(N // 2)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_moments_as_drawn(p: float, power: int, seed: int, false_alarm: float) -> None:
    """The mean of the outputs and of their squares are as likely as they should be."""
    law = LAWS["alpha"](threshold_from_rate(p))
    y = alpha_dropout(_signs(), p, True, address=Address.from_seed(seed))
    values = (law.shift - law.gain, law.shift + law.gain, law.fill)
    p_value = _moment_pvalue(y, values, effective_rate(p), power)
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


@pytest.mark.parametrize("power", [1, 2])
def test_moment_check_can_fail(power: int, seed: int, false_alarm: float) -> None:
    """It sees a saturation value off by a fifth, in the mean and in the squares."""
    law = LAWS["alpha"](threshold_from_rate(0.2))
    values = (law.shift - law.gain, law.shift + law.gain, law.fill)
    y = alpha_dropout(_signs(), 0.2, True, address=Address.from_seed(seed))
    y[y == law.fill] *= 1.2
    assert _moment_pvalue(y, values, effective_rate(0.2), power) < false_alarm


def test_values_are_torchs() -> None:
    """The two values that torch's function gives for one input are these, at a common rate."""
    x = torch.full((2000,), 0.5, dtype=torch.float64)
    theirs = sorted(set(F.alpha_dropout(x, 0.25, True).tolist()))
    ours = sorted(set(alpha_dropout(x, 0.25, True).tolist()))
    assert pytest.approx(theirs, rel=1e-14) == ours


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropped_saturate_whatever_they_were(dtype: torch.dtype) -> None:
    """Infinities and nans that are dropped saturate, and the gradient there is +0."""
    x = torch.full((200,), torch.nan, dtype=dtype, requires_grad=True)
    y = alpha_dropout(x, 0.5, True, address=ADDRESS)
    y.backward(torch.full_like(y, -torch.inf))
    dropped = dropout(torch.ones(200), 0.5, address=ADDRESS) == 0
    assert dropped.tolist() == y.isfinite().tolist()
    assert 1 == len(set(y[dropped].tolist()))
    assert {0.0} == set(x.grad[dropped].tolist())
    assert not x.grad[dropped].signbit().any()
    assert {-math.inf} == set(x.grad[~dropped].tolist())


def test_features() -> None:
    """A channel is kept or saturates as a whole, by its own element of the mask."""
    x = torch.linspace(-1, 1, 4 * 6 * 3 * 2).reshape(4, 6, 3, 2)
    y = feature_alpha_dropout(x, 0.5, True, address=ADDRESS)
    keep = dropout(torch.ones(4, 6), 0.5, address=ADDRESS) != 0
    law = LAWS["alpha"](32768)
    expected = torch.where(keep[..., None, None], x * law.gain + law.shift, law.fill)
    assert torch.equal(expected, y)
    assert 5 < int(keep.sum()) < 19


@pytest.mark.parametrize("function", [alpha_dropout, feature_alpha_dropout])
def test_edges(function: Any) -> None:
    """At rate 1 all are 0 as in torch; at rate 0, and by default, the input comes back."""
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    assert torch.equal(torch.zeros(3, 4), function(x, 1.0, True))
    assert function(x, 0.0, True) is x
    assert function(x) is x
    assert function(x, 1.0, inplace=True) is x


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype) -> None:
    """The examination that torch has for operators passes for the laws of alpha dropout."""
    x = torch.ones(3, 4, dtype=dtype, requires_grad=True)
    for law in ("alpha", "alpha slope"):
        arguments = (x, mask_tensor(5, 6, 32768), [3, 4], law)
        torch.library.opcheck(torch.ops.dropkit.apply_noise, arguments)
