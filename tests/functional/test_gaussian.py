"""Gaussian dropout multiplies by normal numbers that are a pure function of the address."""

import math
import re
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from dropkit import Address, effective_rate, masks_at
from dropkit.core import normals, reference, words
from dropkit.core.ops import mask_tensor
from dropkit.core.place import Place
from dropkit.errors import RateError
from dropkit.functional import gaussian_dropout

ADDRESS = Address.from_seed(1).fold("gaussian")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
CPU = torch.device("cpu")
U64 = st.integers(0, 2**64 - 1)
N = 1 << 20


def _by_hand(key: int, stream: int, place: Place, numel: int) -> list[float]:
    """The definition: the slow twin's halfwords, and the normal quantile of Python itself."""
    found = []
    for row in place.row_indices():
        for c in range(numel // place.rows):
            at = 2 * (row * place.row_stride + place.column_offset + c) % 2**64
            low, high = (int(half) for half in reference.halfwords(key, stream, at, 2))
            found.append(NormalDist().inv_cdf(((high << 16 | low) + 0.5) / 2**32))
    return found


@given(
    key=U64,
    stream=U64,
    first=st.integers(0, 10)
    | st.integers(2**62 - 9, 2**62 + 9)
    | st.integers(2**64 - 9, 2**64 - 1),
    rows=st.integers(1, 4),
    inner=st.integers(1, 13),
)
@settings(max_examples=60)
def test_normals_by_hand(key: int, stream: int, first: int, rows: int, inner: int) -> None:
    """Torch's operations give the numbers of the definition, up to rounding, at any index."""
    for place in (Place(rows, inner, first_row=first), Place(rows, inner, column_offset=5)):
        drawn = normals.normals(key, stream, place, rows * inner, CPU)
        expected = _by_hand(key, stream, place, rows * inner)
        assert pytest.approx(expected, rel=1e-12, abs=1e-12) == drawn.tolist()


@pytest.mark.parametrize("at_once", [1, 5, 8, 64])
def test_pieces_change_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the numbers are drawn in pieces, they are the same."""
    places = (Place.whole(60), Place(6, 10, row_ids=torch.tensor([3, 1, 4, 1, 5, 9])))
    whole = [normals.normals(1, 2, place, 60, CPU) for place in places]
    monkeypatch.setattr(words, "_AT_ONCE", at_once)
    for expected, place in zip(whole, places, strict=True):
        assert torch.equal(expected, normals.normals(1, 2, place, 60, CPU))


def test_no_elements() -> None:
    """A tensor without elements has no numbers."""
    assert (0, 3) == gaussian_dropout(torch.ones(0, 3), 0.5).shape


def test_recorded_numbers() -> None:
    """Seed 1 draws the numbers recorded with version 0.2, on every machine."""
    y = gaussian_dropout(torch.ones(4, dtype=torch.float64), 0.5, address=Address.from_seed(1))
    recorded = [2.6813715503758306, 0.9221466811898037, 0.5903493850698114, 0.6667329624578251]
    assert pytest.approx(recorded, rel=1e-12) == y.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounded_once(dtype: torch.dtype) -> None:
    """The number is rounded to the type that is computed in, and the product to the tensor's."""
    x = torch.linspace(-2, 2, 300).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    z = normals.normals(ADDRESS.key, ADDRESS.stream, Place.whole(300), 300, CPU)
    p = effective_rate(0.3)
    factors = (1 + math.sqrt(p / (1 - p)) * z).to(wide)
    expected = (x.to(wide) * factors).to(dtype)
    drawn = gaussian_dropout(x, 0.3, address=ADDRESS)
    torch.testing.assert_close(expected, drawn, rtol=torch.finfo(dtype).eps, atol=0)
    given = x.clone()
    assert gaussian_dropout(given, 0.3, True, True, address=ADDRESS) is given
    assert torch.equal(drawn, given)


def _numbers(p: float, seed: int, n: int = N) -> np.ndarray:
    """What ones turn into, brought to mean 0 and variance 1 by the rate 0.3."""
    y = gaussian_dropout(torch.ones(n, dtype=torch.float64), p, address=Address.from_seed(seed))
    rate = effective_rate(0.3)
    return ((y - 1) / math.sqrt(rate / (1 - rate))).numpy()


def _two_sided(law: Any, value: float) -> float:
    return float(2 * min(law.cdf(value), law.sf(value)))


def _mean_pvalue(z: np.ndarray) -> float:
    return _two_sided(stats.norm(), z.sum() / math.sqrt(len(z)))


def _variance_pvalue(z: np.ndarray) -> float:
    return _two_sided(stats.chi2(len(z)), (z**2).sum())


def _shape_pvalue(z: np.ndarray) -> float:
    return float(stats.kstest(z, "norm").pvalue)


def _pair_pvalue(z: np.ndarray, gap: int) -> float:
    """Exact for normal numbers: the correlation of pairs that share no element."""
    pairs = z[: len(z) // (2 * gap) * 2 * gap].reshape(-1, 2, gap)
    return float(stats.pearsonr(pairs[:, 0].ravel(), pairs[:, 1].ravel()).pvalue)


@pytest.mark.parametrize("check", [_mean_pvalue, _variance_pvalue, _shape_pvalue])
def test_moments_and_shape(check: Any, seed: int, false_alarm: float) -> None:
    """Mean, variance and distribution are those of normal numbers at the rate."""
    p_value = check(_numbers(0.3, seed))
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 8, 1024])
def test_neighbours(gap: int, seed: int, false_alarm: float) -> None:
    """Elements a gap apart are independent: within a block and beyond."""
    p_value = _pair_pvalue(_numbers(0.3, seed), gap)
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_checks_can_fail(seed: int, false_alarm: float) -> None:
    """They see a mean off by 0.01, a rate off by 0.01, uniform numbers and a copied hundredth."""
    z = _numbers(0.3, seed)
    uniform = (stats.norm.cdf(z) - 0.5) * math.sqrt(12)
    copied = z.copy()
    copied[1::100] = copied[::100][: len(copied[1::100])]
    assert _mean_pvalue(z + 0.01) < false_alarm
    assert _variance_pvalue(_numbers(0.31, seed)) < false_alarm
    assert _shape_pvalue(uniform) < false_alarm
    assert _pair_pvalue(copied, 1) < false_alarm


def fixed(x: Tensor) -> Tensor:
    """Multiply `x` by always the same numbers."""
    return gaussian_dropout(x, 0.5, address=ADDRESS)


def of_examples(x: Tensor) -> Tensor:
    """Multiply `x` by the numbers of examples 4, 0 and 4."""
    with masks_at(seed=2, rows=[4, 0, 4]):
        return gaussian_dropout(x, 0.5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward AD
@pytest.mark.parametrize("function", [fixed, of_examples])
def test_gradcheck(function: Any) -> None:
    """First and second derivatives, tangents and batched gradients are right in float64."""
    x = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: function(x) ** 2, x)


def test_nothing_is_kept() -> None:
    """Autograd saves no tensor: backward draws the numbers again."""
    saved: list[Tensor] = []
    x = torch.ones(30, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        y = fixed(x)
    y.sum().backward()
    assert [] == saved
    assert torch.equal(y.detach(), x.grad)


def test_rows() -> None:
    """An example's numbers do not depend on its batch."""
    with masks_at(seed=1):
        whole = gaussian_dropout(torch.ones(9, 2, 5), 0.5)
    for rows, ids in ((3, [3, 4, 5]), ([8, 2, 8], [8, 2, 8])):
        with masks_at(seed=1, rows=rows):
            assert torch.equal(whole[ids], gaussian_dropout(torch.ones(3, 2, 5), 0.5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype) -> None:
    """The examination that torch has for operators passes."""
    x = torch.ones(3, 4, dtype=dtype, requires_grad=True)
    arguments = (x, mask_tensor(5, 6, 32768), [3, 4], "gaussian")
    torch.library.opcheck(torch.ops.dropkit.apply_noise, arguments)


def test_rate_1_is_refused() -> None:
    """There is no normal number of infinite variance."""
    message = "`p` must be a drop rate below 1 for gaussian dropout; got 1.0. Its variance is p / (1 - p)."
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        gaussian_dropout(torch.ones(3), 1.0)
