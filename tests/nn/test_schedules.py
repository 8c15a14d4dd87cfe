"""A schedule is a pure function from step to rate, and plain data."""

import json
import math
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropkit.errors import OptionError, RateError
from dropkit.nn.schedules import Schedule

KINDS = {
    "constant": Schedule.constant(0.1),
    "linear": Schedule.linear(0.5, 0.0, 100),
    "early": Schedule.early(0.1, 50),
    "early, linear": Schedule.early(0.1, 50, is_linear=True),
    "late": Schedule.late(0.4, 50),
    "curriculum": Schedule.curriculum(0.5, 0.01),
    "piecewise": Schedule.piecewise({10: 0.0, 20: 0.5, 40: 0.1}),
}
EACH = pytest.mark.parametrize("schedule", KINDS.values(), ids=KINDS)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (KINDS["constant"], {0: 0.1, 1: 0.1, 10**6: 0.1}),
        (KINDS["linear"], {0: 0.5, 20: 0.4, 50: 0.25, 99: 0.005, 100: 0.0, 101: 0.0}),
        (Schedule.linear(0.1, 0.4, 1), {0: 0.1, 1: 0.4, 2: 0.4}),
        (KINDS["early"], {0: 0.1, 49: 0.1, 50: 0.0, 51: 0.0}),
        (KINDS["early, linear"], {0: 0.1, 25: 0.05, 49: 0.002, 50: 0.0, 51: 0.0}),
        (KINDS["late"], {0: 0.0, 49: 0.0, 50: 0.4, 51: 0.4}),
        (Schedule.late(0.4, 0), {0: 0.4}),
        (KINDS["piecewise"], {0: 0.0, 10: 0.0, 15: 0.25, 20: 0.5, 30: 0.3, 40: 0.1, 99: 0.1}),
        (Schedule.piecewise([(7, 0.2)]), {0: 0.2, 7: 0.2, 8: 0.2}),
    ],
)
def test_rates(schedule: Schedule, rates: dict[int, float]) -> None:
    """The rates are those worked out by hand, at the corners and between them."""
    assert rates == pytest.approx({step: schedule(step) for step in rates}, abs=1e-15)


def test_curriculum_is_the_papers() -> None:
    """The kept share is ``(1 - keep) exp(-gamma t) + keep``, which begins at 1 and ends at keep."""
    keep, gamma = 0.7, 0.01
    schedule = Schedule.curriculum(1 - keep, gamma)
    for step in (0, 1, 50, 1000):
        share = (1 - keep) * math.exp(-gamma * step) + keep
        assert share == pytest.approx(1 - schedule(step), abs=1e-15)
    assert (0.0, 1 - keep) == (schedule(0), schedule(10**6))


@EACH
@given(step=st.integers(0, 2**40))
def test_rates_are_rates(schedule: Schedule, step: int) -> None:
    """Each is in [0, 1] and a plain float, however far training goes."""
    rate = schedule(step)
    assert type(rate) is float
    assert 0.0 <= rate <= 1.0


@given(start=st.floats(0, 1), end=st.floats(0, 1), steps=st.integers(1, 10**6), data=st.data())
def test_lines_stay_between_their_ends(start: float, end: float, steps: int, data: Any) -> None:
    """Rounding leads no line beyond its ends, so none out of [0, 1]."""
    step = data.draw(st.integers(0, 2 * steps))
    rate = Schedule.linear(start, end, steps)(step)
    assert min(start, end) <= rate <= max(start, end)


@EACH
def test_dict_and_back(schedule: Schedule) -> None:
    """`to_dict` goes through JSON, and `from_dict` makes an equal schedule of it."""
    data = json.loads(json.dumps(schedule.to_dict()))
    assert schedule.to_dict() == data
    assert schedule == Schedule.from_dict(data)


def test_dict_is_readable() -> None:
    """Kind and settings stand there by name."""
    assert KINDS["early, linear"].to_dict() == {
        "kind": "early",
        "p": 0.1,
        "steps": 50,
        "is_linear": True,
    }


@EACH
def test_repr_makes_it_again(schedule: Schedule) -> None:
    """The repr is the call that makes an equal schedule."""
    assert schedule == eval(repr(schedule), {"Schedule": Schedule})


@EACH
def test_is_frozen_data(schedule: Schedule) -> None:
    """It can be pickled and be a key, and cannot be changed."""
    again = pickle.loads(pickle.dumps(schedule))
    assert ({schedule}, hash(schedule)) == ({again}, hash(again))
    with pytest.raises(AttributeError, match="cannot assign to field"):
        schedule._formula = None


def test_different_settings_differ() -> None:
    """Schedules are equal only where kind and settings are."""
    assert len(KINDS) == len(set(KINDS.values()))


def test_numpy_numbers() -> None:
    """Numbers of numpy are numbers, and become plain ones."""
    schedule = Schedule.linear(np.float32(0.5), np.int64(0), np.int64(10))
    assert Schedule.linear(0.5, 0.0, 10) == schedule
    assert 0.25 == schedule(np.int64(5))
    assert "Schedule.linear(start=0.5, end=0.0, steps=10)" == repr(schedule)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule.constant(1.5), "`p` must be a drop rate in [0, 1]; got 1.5."),
        (
            lambda: Schedule.linear(0.1, 20, 5),
            "`end` must be a drop rate in [0, 1]; got 20. Did you mean 0.2?",
        ),
        (lambda: Schedule.linear("0.1", 0, 5), "`start` must be a drop rate in [0, 1]; got '0.1'."),
        (
            lambda: Schedule.piecewise({0: 0.1, 5: math.nan}),
            "`points[5]` must be a drop rate in [0, 1]; got nan.",
        ),
    ],
)
def test_bad_rates(make: Any, message: str) -> None:
    """A rate that is none is refused when the schedule is made."""
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KINDS["late"](-1), "`step` must be a whole number from 0 on; got -1."),
        (lambda: KINDS["late"](1.0), "`step` must be a whole number from 0 on; got 1.0."),
        (lambda: KINDS["late"](True), "`step` must be a whole number from 0 on; got True."),
        (
            lambda: Schedule.linear(0.1, 0.2, 0),
            "`steps` must be a whole number from 1 on; got 0.",
        ),
        (lambda: Schedule.early(0.1, None), "`steps` must be a whole number from 1 on; got None."),
        (lambda: Schedule.late(0.1, -3), "`start` must be a whole number from 0 on; got -3."),
        (
            lambda: Schedule.curriculum(0.1, 0),
            "`gamma` must be a finite number above 0; got 0.",
        ),
        (
            lambda: Schedule.curriculum(0.1, math.inf),
            "`gamma` must be a finite number above 0; got inf.",
        ),
        (
            lambda: Schedule.curriculum(0.1, "1"),
            "`gamma` must be a finite number above 0; got '1'.",
        ),
        (
            lambda: Schedule.piecewise({}),
            "`points` must be one or more pairs of a step and a rate, the steps rising from 0 on; "
            "got {}.",
        ),
        (
            lambda: Schedule.piecewise([(5, 0.1), (5, 0.2)]),
            "`points` must be one or more pairs of a step and a rate, the steps rising from 0 on; "
            "got [(5, 0.1), (5, 0.2)].",
        ),
        (
            lambda: Schedule.piecewise([0.1, 0.2]),
            "`points` must be one or more pairs of a step and a rate, the steps rising from 0 on; "
            "got [0.1, 0.2].",
        ),
        (
            lambda: Schedule.piecewise({-1: 0.1}),
            "`points` must be one or more pairs of a step and a rate, the steps rising from 0 on; "
            "got {-1: 0.1}.",
        ),
        (
            lambda: Schedule.from_dict({"kind": "cosine", "p": 0.1}),
            "`data` must be what `Schedule.to_dict` gives; got {'kind': 'cosine', 'p': 0.1}.",
        ),
        (
            lambda: Schedule.from_dict({"kind": "late", "p": 0.1}),
            "`data` must be what `Schedule.to_dict` gives; got {'kind': 'late', 'p': 0.1}.",
        ),
        (
            lambda: Schedule.from_dict(0.1),
            "`data` must be what `Schedule.to_dict` gives; got 0.1.",
        ),
    ],
)
def test_bad_options(make: Any, message: str) -> None:
    """Everything else that cannot be meant is refused in a whole sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        make()
