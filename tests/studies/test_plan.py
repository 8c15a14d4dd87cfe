"""Arms are plain data."""

import math
import re

import pytest
from torch import nn

from dropkit import Schedule
from dropkit.errors import OptionError
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial


def test_grid_is_every_combination() -> None:
    """Names say what varies and nothing else; the first of each is the baseline."""
    arms = Arm.grid(rates=[0.0, {"a.*": 0.1, "*": 0.5}], model_change=[{"norm": "none"}])
    assert ["rates 0", "rates a.*=0.1 *=0.5"] == [arm.name for arm in arms]
    assert [{"norm": "none"}] * 2 == [arm.model_change for arm in arms]
    assert 12 == len(
        Arm.grid(rates=[0, 0.1, 0.2], weight_decay=[0, 1], model_change=[{}, {"width": 8}])
    )
    assert "rates" in Study(lambda _: {}, arms).arms[0].name


def test_rates_that_are_no_numbers_are_handed_on() -> None:
    """A preset's name, or whatever set_rates knows, counts as dropout and is not judged here."""
    arm = Arm("preset", rates="srivastava-2014")
    assert arm.has_dropout
    assert math.isnan(arm.highest_rate)
    assert "srivastava-2014" == arm.to_dict()["rates"]
    assert 0.5 == Arm("by pattern", rates={"a": 0.5, "b": 0.1}).highest_rate
    assert not Arm("none").has_dropout


def test_schedules_follow_the_steps_of_the_masks() -> None:
    """An arm's schedule sets the rates of its sites at each step, and the rest stay numbers."""
    rates = {"0": Schedule.early(0.5, steps=2), "*": 0.1}
    arm = Arm("early", rates=rates)
    assert arm.has_dropout
    assert {"0": rates["0"].to_dict(), "*": 0.1} == arm.to_dict()["rates"]
    model = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.3))
    trial = Trial(arm, 0)
    change = trial.apply(model)
    seen = []
    for step in range(4):
        with trial.masks(step):
            seen.append([layer.p for layer in model])
    assert [[0.5, 0.1], [0.5, 0.1], [0.0, 0.1], [0.0, 0.1]] == seen
    change.undo()
    assert [0.3, 0.3] == [layer.p for layer in model]


def test_only_differences_in_rates_are_judged() -> None:
    """An arm that also changes the model or its share of the data is no dropout arm."""
    arms = (
        Arm("none"),
        Arm("half", rates=0.5),
        Arm("wide", rates=0.5, model_change={"width": 512}),
        Arm("less", rates=0.5, data_fraction=0.5),
    )
    study = Study(lambda _: {}, arms, replicates=2, metric="loss")
    from dropkit.studies.decision import judged_arms

    assert ["half"] == [arm.name for arm in judged_arms(study.arms)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Arm("x", model_change={"width": {8}}),
            "`model_change` must be what JSON can write; got {'width': {8}} in arm 'x'.",
        ),
        (
            lambda: Arm("x", data_fraction=0.0),
            "`data_fraction` must be in (0, 1]; got 0.0 in arm 'x'.",
        ),
        (
            lambda: Arm.grid(rates=[]),
            "`rates` of a grid must hold at least one value; got none.",
        ),
    ],
)
def test_refusals(make, message) -> None:
    """An arm that cannot be is refused in one sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        make()
