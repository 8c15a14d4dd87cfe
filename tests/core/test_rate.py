"""A rate becomes a whole number of 65536ths, and the scale is exact for the one really used."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dropkit import effective_rate
from dropkit.core.rate import STEPS, scale_from_threshold, threshold_from_rate
from dropkit.errors import RateError


@pytest.mark.parametrize(
    ("p", "threshold"),
    [
        (0, 0),
        (0.0, 0),
        (-0.0, 0),
        (False, 0),
        (1, 65536),
        (1.0, 65536),
        (0.5, 32768),
        (0.1, 6554),
        (1e-300, 1),
        (5e-324, 1),
        (0.4 / 65536, 1),
        (1 - 2**-53, 65535),
        (1 - 0.4 / 65536, 65535),
        (2.5 / 65536, 2),
        (3.5 / 65536, 4),
        (2.5000001 / 65536, 3),
    ],
)
def test_threshold(p: float, threshold: int) -> None:
    """Nearest, ties to even; never 0 or 65536 unless the rate is 0 or 1."""
    assert threshold == threshold_from_rate(p)


@pytest.mark.parametrize("p", [np.float64(0.25), np.float32(0.25), np.float16(0.25)])
def test_numpys_floats(p: float) -> None:
    """Floats of numpy's are rates."""
    assert 16384 == threshold_from_rate(p)


@given(st.floats(0.0, 1.0))
def test_effective_rate_is_near(p: float) -> None:
    """The rate used is a whole number of 65536ths, less than one from the rate asked for."""
    steps = Fraction(effective_rate(p)) * STEPS
    assert 1 == steps.denominator
    assert abs(steps - Fraction(p) * STEPS) < 1


@given(st.integers(1, STEPS - 1))
def test_scale_is_exact(threshold: int) -> None:
    """The scale is 1 / (1 - t/65536), rounded once."""
    assert float(Fraction(STEPS, STEPS - threshold)) == scale_from_threshold(threshold)


def test_scale_at_the_ends() -> None:
    """Nothing dropped and everything dropped both leave the scale at 1."""
    assert (1.0, 1.0) == (scale_from_threshold(0), scale_from_threshold(STEPS))


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (-0.1, "`p` must be a drop rate in [0, 1]; got -0.1."),
        (1.5, "`p` must be a drop rate in [0, 1]; got 1.5."),
        (2.0, "`p` must be a drop rate in [0, 1]; got 2.0. Did you mean 0.02?"),
        (10, "`p` must be a drop rate in [0, 1]; got 10. Did you mean 0.1?"),
        (12.5, "`p` must be a drop rate in [0, 1]; got 12.5. Did you mean 0.125?"),
        (100, "`p` must be a drop rate in [0, 1]; got 100. Did you mean 1?"),
        (101, "`p` must be a drop rate in [0, 1]; got 101."),
        (float("nan"), "`p` must be a drop rate in [0, 1]; got nan."),
        (float("inf"), "`p` must be a drop rate in [0, 1]; got inf."),
        (None, "`p` must be a drop rate in [0, 1]; got None."),
        ("0.5", "`p` must be a drop rate in [0, 1]; got '0.5'."),
        (Fraction(1, 4), "`p` must be a drop rate in [0, 1]; got Fraction(1, 4)."),
        (torch.tensor(0.25), "`p` must be a drop rate in [0, 1]; got tensor(0.2500)."),
        ([0.5], "`p` must be a drop rate in [0, 1]; got [0.5]."),
        (
            np.float64(50.0),
            "`p` must be a drop rate in [0, 1]; got np.float64(50.0). Did you mean 0.5?",
        ),
        (
            np.float32(50.0),
            "`p` must be a drop rate in [0, 1]; got np.float32(50.0). Did you mean 0.5?",
        ),
    ],
)
def test_refusals(p: object, message: str) -> None:
    """What is no rate is refused with the value, and a percentage with its share."""
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        threshold_from_rate(p)


def test_refusal_names_parameter_and_site() -> None:
    """The sentence carries the caller's own name for the rate, and the site."""
    message = (
        "`rates` must be a drop rate in [0, 1]; got 30 at site 'encoder.drop'. Did you mean 0.3?"
    )
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        threshold_from_rate(30, name="rates", site="encoder.drop")
