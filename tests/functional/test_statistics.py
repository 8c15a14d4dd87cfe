"""Masks are binomial draws, independent of neighbours, of other addresses and of other seeds.

Each check has an exact tail probability against the suite's one false-alarm rate, and a twin
that proves it can fail.
"""

import pytest
import torch
from scipy import stats
from torch import Tensor

from dropkit import Address, effective_rate
from dropkit.functional import dropout

N = 1 << 20


def _kept(p: float, address: Address, n: int = N) -> Tensor:
    return dropout(torch.ones(n), p, address=address) != 0


def _rate_pvalue(kept: Tensor, p: float) -> float:
    """How likely a binomial draw is at least as far off."""
    return float(stats.binomtest(int(kept.sum()), kept.numel(), 1 - effective_rate(p)).pvalue)


def _pair_pvalue(one: Tensor, other: Tensor) -> float:
    """How likely two independent masks agree at least as unusually often, given their counts.

    Exact given the margins: what both keep is then hypergeometric.
    """
    n, a, b = one.numel(), int(one.sum()), int(other.sum())
    both = int((one & other).sum())
    law = stats.hypergeom(n, a, b)
    return float(min(1.0, 2 * min(law.cdf(both), law.sf(both - 1))))


def _replay(seed: int, p_value: float) -> str:
    return f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


@pytest.mark.parametrize("p", [2**-16, 0.01, 0.1, 0.5, 0.9, 1 - 2**-16])
def test_keep_rate(p: float, seed: int, false_alarm: float) -> None:
    """The kept share is a binomial draw."""
    p_value = _rate_pvalue(_kept(p, Address.from_seed(seed)), p)
    assert p_value > false_alarm, _replay(seed, p_value)


def test_keep_rate_check_can_fail(seed: int, false_alarm: float) -> None:
    """The check rejects a sampler off by two in a thousand."""
    assert _rate_pvalue(_kept(0.098, Address.from_seed(seed)), 0.1) < false_alarm


def test_rows_and_columns(seed: int, false_alarm: float) -> None:
    """No row and no column of a mask is kept more often than chance allows."""
    kept = _kept(0.5, Address.from_seed(seed)).reshape(1024, 1024)
    worst = min(_rate_pvalue(line, 0.5) for line in [*kept, *kept.T])
    assert worst > false_alarm / 2048, _replay(seed, worst)


def test_rows_check_can_fail(seed: int, false_alarm: float) -> None:
    """It sees one column in 1024 that is dropped at 0.7 instead of 0.5."""
    kept = _kept(0.5, Address.from_seed(seed)).reshape(1024, 1024)
    kept[:, 7] = _kept(0.7, Address.from_seed(seed).fold(1), 1024)
    assert min(_rate_pvalue(line, 0.5) for line in kept.T) < false_alarm / 2048


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 7, 8, 9, 16, 32, 64, 1024])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_neighbours(gap: int, p: float, seed: int, false_alarm: float) -> None:
    """Elements a gap apart are kept independently: within a word, a block, a turn and beyond."""
    kept = _kept(p, Address.from_seed(seed))
    # Pairs that share no element, so that the counts are exact.
    pairs = kept[: N // (2 * gap) * 2 * gap].reshape(-1, 2, gap)
    p_value = _pair_pvalue(pairs[:, 0], pairs[:, 1])
    assert p_value > false_alarm, _replay(seed, p_value)


ROOT_AND_OTHER = {
    "one fold apart": lambda root: (root, root.fold(0)),
    "sisters": lambda root: (root.fold(0), root.fold(1)),
    "sister texts": lambda root: (root.fold("a"), root.fold("b")),
    "neighbouring keys": lambda root: (root, Address((root.key + 1) % 2**64, root.stream)),
    "neighbouring streams": lambda root: (root, Address(root.key, root.stream + 1)),
    "two seeds folded": lambda root: (root.fold(5), Address(root.key ^ 1, root.stream).fold(5)),
    "swapped": lambda root: (root.fold(1).fold(2), root.fold(2).fold(1)),
}


@pytest.mark.parametrize("how", list(ROOT_AND_OTHER))
def test_two_addresses(how: str, seed: int, false_alarm: float) -> None:
    """Masks of related addresses are independent."""
    one, other = ROOT_AND_OTHER[how](Address.from_seed(seed))
    p_value = _pair_pvalue(_kept(0.5, one), _kept(0.5, other))
    assert p_value > false_alarm, _replay(seed, p_value)


def test_pair_check_can_fail(seed: int, false_alarm: float) -> None:
    """It sees that one element in a hundred is copied from the other mask."""
    one = _kept(0.5, Address.from_seed(seed))
    other = _kept(0.5, Address.from_seed(seed).fold(0))
    other[::100] = one[::100]
    assert _pair_pvalue(one, other) < false_alarm


def test_ambient_calls(seed: int, false_alarm: float) -> None:
    """Two ambient calls one after another, and of two torch seeds, are independent."""
    torch.manual_seed(seed)
    first, second = (dropout(torch.ones(N), 0.5) != 0 for _ in range(2))
    torch.manual_seed(seed + 1)
    other = dropout(torch.ones(N), 0.5) != 0
    for pair in ((first, second), (first, other)):
        p_value = _pair_pvalue(*pair)
        assert p_value > false_alarm, _replay(seed, p_value)


def test_rates_over_many_addresses(seed: int, false_alarm: float) -> None:
    """Over 1,000 addresses the counts are spread as a binomial's, neither more nor less."""
    root, n = Address.from_seed(seed), 1024
    counts = [int(_kept(0.5, root.fold(i), n).sum()) for i in range(1000)]
    p_value = _spread_pvalue(counts, n)
    assert p_value > false_alarm, _replay(seed, p_value)


def test_spread_check_can_fail(seed: int, false_alarm: float) -> None:
    """It sees masks that always keep exactly half."""
    del seed
    assert _spread_pvalue([512] * 1000, 1024) < false_alarm


def _spread_pvalue(counts: list[int], n: int) -> float:
    """How likely as many counts, or more or fewer, lie in the inner half of the binomial law."""
    law = stats.binom(n, 0.5)
    low, high = int(law.ppf(0.25)), int(law.ppf(0.75))
    inside = sum(low <= count <= high for count in counts)
    chance = float(law.cdf(high) - law.cdf(low - 1))
    return float(stats.binomtest(inside, len(counts), chance).pvalue)
