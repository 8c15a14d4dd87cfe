"""Stochastic depth under timm's names and under torchvision's."""

import re
from typing import Any

import pytest
import torch
from scipy import stats

from dropkit import Address, effective_rate
from dropkit.errors import OptionError, RateError, ShapeError
from dropkit.functional import drop_path, drop_path_rates, dropout, stochastic_depth

ADDRESS = Address.from_seed(5)


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 3, 2, 5)])
@pytest.mark.parametrize("scale_by_keep", [True, False])
def test_element_n_decides_on_example_n(shape: tuple[int, ...], scale_by_keep: bool) -> None:
    """Examples are dropped whole, as a mask over them says, and scaled if asked to."""
    x = torch.rand(shape) + 1
    y = drop_path(x, 0.5, True, scale_by_keep, address=ADDRESS)
    mode: Any = "inverted" if scale_by_keep else "vanilla"
    mask = dropout(torch.ones(8), 0.5, address=ADDRESS, mode=mode)
    assert {0.0, 2.0 if scale_by_keep else 1.0} == set(mask.tolist())
    assert torch.equal(x * mask.reshape(8, *[1] * (x.dim() - 1)), y)


def test_timms_defaults() -> None:
    """Without `training` nothing happens, and the rate is 0 by default."""
    x = torch.ones(8, 3)
    assert drop_path(x, 0.5) is x
    assert drop_path(x, training=True) is x


def test_row_is_drop_path() -> None:
    """Torchvision's mode "row" is the same function."""
    x = torch.rand(8, 3, 2)
    expected = drop_path(x, 0.5, True, address=ADDRESS)
    assert torch.equal(expected, stochastic_depth(x, 0.5, "row", address=ADDRESS))
    assert stochastic_depth(x, 0.5, "row", training=False) is x


def test_batch_is_all_or_nothing(seed: int, false_alarm: float) -> None:
    """Torchvision's mode "batch" drops all examples or none, with a chance of `p`."""
    x, n = torch.ones(4, 2), 2000
    calls = [stochastic_depth(x, 0.3, "batch") for _ in range(n)]
    scale = 1 / (1 - effective_rate(0.3))
    for y in calls:
        torch.testing.assert_close(y, torch.full_like(x, scale if float(y[0, 0]) else 0.0))
    kept = sum(bool(y[0, 0]) for y in calls)
    p_value = stats.binomtest(kept, n, 1 - effective_rate(0.3)).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_share_of_rows(p: float, seed: int, false_alarm: float) -> None:
    """The share of examples that are kept is a binomial draw."""
    kept = int(drop_path(torch.ones(1 << 18, 1), p, True).count_nonzero())
    p_value = stats.binomtest(kept, 1 << 18, 1 - effective_rate(p)).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_everything_dropped() -> None:
    """At a rate of 1 all is +0, infinities too."""
    x = torch.full((3, 2), torch.inf)
    for y in (drop_path(x, 1.0, True), stochastic_depth(x, 1.0, "batch")):
        assert [[0.0, 0.0]] * 3 == y.tolist()


def test_linear_rule() -> None:
    """Evenly from 0 to the rate; the paper's own rule, l / L, is the tail of one block more."""
    assert [0.0, 0.25, 0.5] == drop_path_rates(0.5, 3)
    assert [0.0] == drop_path_rates(0.5, 1)
    n, rate = 24, 0.1
    assert (0.0, rate) == (drop_path_rates(rate, n)[0], drop_path_rates(rate, n)[-1])
    torch.testing.assert_close(
        [rate * block / n for block in range(1, n + 1)], drop_path_rates(rate, n + 1)[1:]
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: drop_path(torch.ones(2, 2), 1.5, True),
            RateError,
            "`drop_prob` must be a drop rate in [0, 1]; got 1.5.",
        ),
        (
            lambda: stochastic_depth(torch.ones(2, 2), -0.5, "row"),
            RateError,
            "`p` must be a drop rate in [0, 1]; got -0.5.",
        ),
        (
            lambda: stochastic_depth(torch.ones(2, 2), 0.5, "rows"),  # type: ignore[arg-type]
            OptionError,
            "`mode` must be 'row' or 'batch'; got 'rows'.",
        ),
        (
            lambda: drop_path(torch.ones(()), 0.5, True),
            ShapeError,
            "Stochastic depth needs a tensor with a dimension of examples; got shape ().",
        ),
        (
            lambda: drop_path_rates(20, 3),
            RateError,
            "`rate` must be a drop rate in [0, 1]; got 20. Did you mean 0.2?",
        ),
        (
            lambda: drop_path_rates(0.2, 0),
            OptionError,
            "`n_blocks` must be a whole number from 1 on; got 0.",
        ),
    ],
)
def test_arguments_are_checked(call: Any, error: type[Exception], message: str) -> None:
    """A wrong argument is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        call()
