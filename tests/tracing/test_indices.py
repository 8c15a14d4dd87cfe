"""Indices are unbiased where algebra or others know them, and their intervals hold what they say.

The design is tested by itself, on functions of numpy's numbers; `test_truths` tests it on models.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from dropkit.tracing._indices import CONFIDENCE, Indices, common_shape, indices
from dropkit.tracing._walks import Array, Moments, walk

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

STUDIES = 300


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.standard_normal(shape)


def _walked(
    function: Callable[[Array], Array],
    n_sites: int,
    n_blocks: int,
    seed: int,
    draw: Draw = _normal,
    n_outputs: int = 1,
) -> Moments:
    """Moments of a function of ``(sites, outputs)`` numbers that are drawn for A and B."""
    masks = draw(np.random.default_rng(seed), (n_blocks, 2, n_sites, n_outputs))

    def evaluate(block: int, sides: np.ndarray) -> Array:
        return function(np.where(sides[:, None], masks[block, 1], masks[block, 0]))

    return walk(evaluate, n_sites, n_blocks, seed)


def _ishigami(x: Array) -> Array:
    return np.sin(x[0]) + 7.0 * np.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * np.sin(x[0])


def _uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.uniform(-math.pi, math.pi, shape)


def test_ishigami_as_salib(seed: int) -> None:
    """On Ishigami's function the intervals hold the known indices, and SALib's lie as near."""
    pytest.importorskip("SALib")
    from SALib.analyze import sobol as analyze
    from SALib.sample import sobol as sample

    problem = {"num_vars": 3, "names": ["a", "b", "c"], "bounds": [[-math.pi, math.pi]] * 3}
    inputs = sample.sample(problem, 1024, calc_second_order=False, seed=1)
    theirs = analyze.analyze(problem, _ishigami(inputs.T), calc_second_order=False, seed=1)
    ours = indices(_walked(_ishigami, 3, 4000, seed, _uniform))
    v1, v2, v13 = 0.5 * (1 + 0.1 * math.pi**4 / 5) ** 2, 49 / 8, 0.01 * math.pi**8 * 8 / 225
    whole = v1 + v2 + v13
    firsts, totals = (v1, v2, 0.0), (v1 + v13, v2, v13)
    for at, one in enumerate(ours):
        assert firsts[at] / whole == pytest.approx(one.first_order.value, abs=0.06)
        assert totals[at] / whole == pytest.approx(one.total.value, abs=0.06)
        assert theirs["S1"][at] == pytest.approx(one.first_order.value, abs=0.06)
        assert theirs["ST"][at] == pytest.approx(one.total.value, abs=0.06)


def test_moments_are_unbiased(seed: int, false_alarm: float) -> None:
    """With an interaction, the mean of each moment is what the components of variance say."""
    moments = _walked(lambda x: 2.0 * x[0] + x[1] + 1.5 * x[0] * x[1] + x[2], 3, 4000, seed)
    along = (2 * 4.0 + 2.25, 2 * 1.0 + 2.25, 2 * 1.0)
    across = (2.25, 2.25, 0.0)
    for found, expected in ((moments.along, along), (moments.across, across)):
        for draws, mean in zip(found.T, expected, strict=True):
            if mean == 0.0:
                assert draws.max() < 1e-25
                continue
            error = float(np.std(draws, ddof=1)) / math.sqrt(len(draws))
            p_value = 2 * stats.norm.sf(abs(draws.mean() - mean) / error)
            assert p_value > false_alarm


def test_moments_check_can_fail(seed: int, false_alarm: float) -> None:
    """It sees an interaction that is a third stronger than said."""
    moments = _walked(lambda x: x[0] + x[1] + 2.0 * x[0] * x[1], 2, 4000, seed)
    draws = moments.across[:, 0]
    error = float(np.std(draws, ddof=1)) / math.sqrt(len(draws))
    assert 2 * stats.norm.sf(abs(draws.mean() - 2.25) / error) < false_alarm


def _covered(found: list[Indices], truth: Array, width: float = 1.0) -> int:
    def holds(value: float, low: float, high: float, true: float) -> bool:
        return value - width * (value - low) <= true <= value + width * (high - value)

    return sum(
        holds(one.total.value, one.total.low, one.total.high, true)
        for one, true in zip(found, truth, strict=True)
    )


#: Weights of the sites, blocks, outputs.
CASES = {
    "two sites": ([1.0, 1.0], 32, 1),
    "three unequal": ([1.0, 0.5, 0.2], 21, 1),
    "nineteen, three blocks": ([1.0] * 19, 3, 1),
    "nineteen unequal": (list(np.linspace(0.2, 2.0, 19)), 3, 1),
    "eight outputs": (list(np.linspace(0.2, 2.0, 19)), 3, 8),
}


def _coverage(name: str, seed: int, width: float = 1.0) -> tuple[int, int]:
    """How many intervals hold the total index of site 0, of how many."""
    weights, n_blocks, n_outputs = CASES[name]
    weight = np.array(weights)
    truth = weight**2 / np.sum(weight**2)
    hits = 0
    for study in range(STUDIES):
        moments = _walked(
            lambda x: weight @ x,
            len(weight),
            n_blocks,
            seed + study,
            n_outputs=n_outputs,
        )
        hits += _covered(indices(moments)[:1], truth[:1], width)
    return hits, STUDIES


@pytest.mark.parametrize("name", list(CASES))
def test_intervals_cover(name: str, seed: int, false_alarm: float) -> None:
    """Of 300 traces the 95% interval of a site holds the truth in as many as 90% would or more."""
    hits, n = _coverage(name, seed)
    assert stats.binom.cdf(hits, n, 0.90) > false_alarm


def test_cover_check_can_fail(seed: int, false_alarm: float) -> None:
    """It sees intervals of a third of the width."""
    hits, n = _coverage("nineteen, three blocks", seed, width=1 / 3)
    assert stats.binom.cdf(hits, n, 0.90) < false_alarm


def test_intervals_are_not_too_wide(seed: int, false_alarm: float) -> None:
    """They do not hold the truth in 99% or more where the laws are as assumed."""
    hits, n = _coverage("nineteen unequal", seed)
    assert stats.binom.sf(hits - 1, n, 0.995) > false_alarm
    assert hits < n


def test_shape_is_found(seed: int) -> None:
    """The shape of gamma draws is found whatever their means, from three a law."""
    generator = np.random.default_rng(seed)
    for shape in (0.5, 4.0):
        means = generator.uniform(0.01, 100.0, 4000)[:, None]
        draws = generator.gamma(shape, means, (4000, 3))
        assert shape == pytest.approx(common_shape(draws), rel=0.08)
    assert common_shape(np.zeros((3, 4))) == 0.5


def test_one_site_is_all(seed: int) -> None:
    """A single site makes all of the variance, and nothing is unsure of that."""
    (one,) = indices(_walked(lambda x: 3.0 * x[0], 1, 8, seed))
    assert (1.0, 1.0, 1.0) == (one.total.value, one.total.low, one.total.high)
    assert one.first_order.value == pytest.approx(1.0)


def test_nothing_varies() -> None:
    """Where no mask changes anything all indices are 0."""
    found = indices(_walked(lambda x: 0.0 * x[0], 2, 3, 0))
    assert {0.0} == {one.total.value for one in found} | {one.total.high for one in found}
    assert CONFIDENCE == 0.95
