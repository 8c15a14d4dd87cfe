"""Scheduled rates: set step by step, saved, loaded, and undone."""

import contextlib
import re
from typing import Any

import pytest
from torch import nn

from dropkit.errors import OptionError
from dropkit.nn.schedules import Schedule
from dropkit.sites.scheduled import ScheduledRates, ScheduledSite

SCHEDULES = {"up": Schedule.linear(0.0, 0.4, 4), "late": Schedule.late(0.5, 2)}


def scheduled(schedules: dict[str, Schedule], **options: Any) -> tuple[dict[str, float], Any]:
    """What was set last for each name, and the rates that set it."""
    rates: dict[str, float] = {}
    sites = [
        ScheduledSite(name, schedule, lambda p, name=name: rates.update({name: p}))
        for name, schedule in schedules.items()
    ]
    return rates, ScheduledRates(sites, **options)


def test_rates_are_set_at_once() -> None:
    """The rates of step 0 hold before the first step."""
    rates, handle = scheduled(SCHEDULES)
    assert ({"up": 0.0, "late": 0.0}, 0) == (rates, handle.current_step)


def test_each_step_sets_its_rates() -> None:
    """After n steps the rates are those of step n, and the handle says so."""
    rates, handle = scheduled(SCHEDULES)
    seen = []
    for step in range(6):
        assert (step, rates) == (handle.current_step, handle.rates)
        seen.append((round(rates["up"], 3), rates["late"]))
        handle.step()
    assert [(0.0, 0.0), (0.1, 0.0), (0.2, 0.5), (0.3, 0.5), (0.4, 0.5), (0.4, 0.5)] == seen


def test_go_to() -> None:
    """Any step can be gone to, backwards too."""
    rates, handle = scheduled(SCHEDULES)
    handle.go_to(1000)
    assert ({"up": 0.4, "late": 0.5}, 1000) == (rates, handle.current_step)
    handle.go_to(0)
    assert ({"up": 0.0, "late": 0.0}, 0) == (rates, handle.current_step)


def test_undo() -> None:
    """Undoing puts back what was there; later steps are counted, and nothing is set."""
    layer = nn.Dropout(0.3)
    steps = contextlib.ExitStack()
    steps.callback(setattr, layer, "p", layer.p)
    site = ScheduledSite("", Schedule.constant(0.5), lambda p: setattr(layer, "p", p))
    with ScheduledRates([site], steps) as handle:
        assert 0.5 == layer.p
    assert 0.3 == layer.p
    handle.step()
    handle.undo()
    assert (0.3, 1) == (layer.p, handle.current_step)


def test_state_is_plain() -> None:
    """The state is a step and schedules, as numbers and text."""
    _, handle = scheduled({"late": Schedule.late(0.5, 2)})
    handle.step()
    expected = {"step": 1, "schedules": {"late": {"kind": "late", "p": 0.5, "start": 2}}}
    assert expected == handle.state_dict()


def test_loading_goes_on() -> None:
    """A loaded state sets its step's rates, and follows its schedules from there."""
    _, saved = scheduled(SCHEDULES)
    for _ in range(3):
        saved.step()
    rates, handle = scheduled(dict.fromkeys(SCHEDULES, Schedule.constant(0.9)))
    handle.load_state_dict(saved.state_dict())
    for _ in range(4):
        assert (saved.rates, saved.current_step) == (rates, handle.current_step)
        saved.step()
        handle.step()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"step": 3}, "`state` must be what `state_dict` gives; got {'step': 3}."),
        (7, "`state` must be what `state_dict` gives; got 7."),
        (
            {"step": -1, "schedules": {}},
            "`step` must be a whole number from 0 on; got -1.",
        ),
        (
            {"step": 3, "schedules": {"up": {"kind": "constant", "p": 0.1}, "x": {}}},
            "`data` must be what `Schedule.to_dict` gives; got {}.",
        ),
        (
            {
                "step": 3,
                "schedules": {name: Schedule.constant(0.1).to_dict() for name in ("up", "x")},
            },
            "`state` must schedule the sites that are scheduled here; it lacks ['late'] and has "
            "['x'] besides. Schedule the same sites, then load.",
        ),
    ],
)
def test_bad_state(state: Any, message: str) -> None:
    """What cannot be loaded is refused, and changes nothing."""
    rates, handle = scheduled(SCHEDULES)
    handle.step()
    before = rates.copy(), handle.state_dict()
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        handle.load_state_dict(state)
    assert before == (rates, handle.state_dict())


def test_a_name_that_comes_twice() -> None:
    """Two sites of one name could not be told apart in a state."""
    site = ScheduledSite("drop", Schedule.constant(0.1), print)
    message = "`sites` must bear different names; ['drop'] come more than once."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        ScheduledRates([site, site])
