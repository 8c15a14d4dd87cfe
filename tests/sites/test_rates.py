"""Rates are set by pattern, put back by undo, and left alone where something is wrong."""

import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from dropkit import Schedule, find_sites, set_rates
from dropkit.errors import RateError, SiteError


def _model() -> nn.Module:
    shared = nn.Dropout(0.3)
    return nn.ModuleDict(
        {
            "embed": nn.Sequential(nn.Embedding(3, 4), dropkit.nn.Dropout(0.1)),
            "block": nn.ModuleDict(
                {"attention": nn.Dropout1d(0.2), "out": shared, "again": shared}
            ),
            "head": nn.Sequential(nn.Linear(4, 2), nn.Dropout(0)),
        }
    )


def _rates(model: nn.Module) -> dict[str, float]:
    return {site.name: site.rate for site in find_sites(model)}


BEFORE = {"embed.1": 0.1, "block.attention": 0.2, "block.out": 0.3, "head.1": 0.0}


@pytest.mark.parametrize("rate", [0.5, 1, 0, np.float32(0.5)])
def test_one_rate_for_all(rate: float) -> None:
    """A number is the rate of every site, held as a plain float."""
    model = _model()
    set_rates(model, rate)
    assert dict.fromkeys(BEFORE, float(rate)) == _rates(model)
    assert {float} == {type(m.p) for m in model.modules() if hasattr(m, "p")}


@pytest.mark.parametrize(
    ("rates", "changed"),
    [
        ({"head.1": 0.7}, {"head.1": 0.7}),
        ({"*.1": 0.7}, {"embed.1": 0.7, "head.1": 0.7}),
        (
            {"block.*": 0.0, "*": 0.9},
            {"embed.1": 0.9, "block.attention": 0.0, "block.out": 0.0, "head.1": 0.9},
        ),
        ({"*": 0.9, "block.*": 0.0}, dict.fromkeys(BEFORE, 0.9)),
        ({"*att*": 0.5}, {"block.attention": 0.5}),
        ({"[eh]*.?": 0.5}, {"embed.1": 0.5, "head.1": 0.5}),
        ({}, {}),
    ],
)
def test_patterns(rates: dict[str, float], changed: dict[str, float]) -> None:
    """The first pattern that matches a site rules; a site that none matches keeps its rate."""
    model = _model()
    set_rates(model, rates)
    assert {**BEFORE, **changed} == _rates(model)


def test_undo() -> None:
    """Undo gives the sites their rates back, once."""
    model = _model()
    change = set_rates(model, 0.5)
    change.undo()
    assert BEFORE == _rates(model)
    set_rates(model, 0.9)
    change.undo()
    assert dict.fromkeys(BEFORE, 0.9) == _rates(model)


def test_undo_keeps_what_it_did_not_change() -> None:
    """Undo leaves alone a site that the change did not touch."""
    model = _model()
    change = set_rates(model, {"head.1": 0.5})
    model["block"]["attention"].p = 0.6
    change.undo()
    assert {**BEFORE, "block.attention": 0.6} == _rates(model)


def test_with_block() -> None:
    """Leaving a ``with`` block undoes, one block in another too."""
    model = _model()
    with set_rates(model, 0.5):
        with set_rates(model, {"head.1": 0.7}):
            assert {**dict.fromkeys(BEFORE, 0.5), "head.1": 0.7} == _rates(model)
        assert dict.fromkeys(BEFORE, 0.5) == _rates(model)
    assert BEFORE == _rates(model)


def test_with_block_that_fails() -> None:
    """An error in the block undoes too, and goes on its way."""
    model = _model()
    with pytest.raises(RuntimeError, match=r"^inside$"), set_rates(model, 0.5):
        raise RuntimeError("inside")
    assert BEFORE == _rates(model)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (1.5, "`rates` must be a drop rate in [0, 1]; got 1.5 at site '*'."),
        (
            {"*": 0.5, "head.1": 30},
            "`rates` must be a drop rate in [0, 1]; got 30 at site 'head.1'. Did you mean 0.3?",
        ),
        (
            {"head.*": float("nan")},
            "`rates` must be a drop rate in [0, 1]; got nan at site 'head.*'.",
        ),
    ],
)
def test_bad_rates(rates: Any, message: str) -> None:
    """A wrong rate is refused with the site or pattern it is for, before anything is changed."""
    model = _model()
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        set_rates(model, rates)
    assert BEFORE == _rates(model)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("block.atention", " Near names: 'block.attention', 'block.out'."),
        ("zzz", " The first of 4 sites is 'embed.1'."),
    ],
)
def test_pattern_without_a_site(pattern: str, hint: str) -> None:
    """A pattern that matches nothing is refused with near names, before anything is changed."""
    model = _model()
    message = f"`rates` must name sites of the model; no site matches {pattern!r}.{hint}"
    with pytest.raises(SiteError, match="^" + re.escape(message) + "$"):
        set_rates(model, {"*": 0.5, pattern: 0.1})
    assert BEFORE == _rates(model)


def test_pattern_for_a_model_without_sites() -> None:
    """Where there is nothing to match the sentence says so."""
    message = "`rates` must name sites of the model; no site matches '*'. The model has no dropout."
    with pytest.raises(SiteError, match="^" + re.escape(message) + "$"):
        set_rates(nn.Linear(2, 2), {"*": 0.1})


def test_schedules() -> None:
    """A schedule rules its sites from step to step, beside plain rates, until undo."""
    model = _model()
    handle = set_rates(model, {"head.1": Schedule.late(0.5, start=2), "block.*": 0.7})
    seen = []
    for _ in range(3):
        seen.append(_rates(model))
        handle.step()
    plain = {**BEFORE, "block.attention": 0.7, "block.out": 0.7}
    assert [{**plain, "head.1": rate} for rate in (0.0, 0.0, 0.5)] == seen
    handle.undo()
    handle.step()
    assert BEFORE == _rates(model)


def test_schedule_of_a_rate_in_the_code() -> None:
    """A rate that is written in a model's code follows a schedule too, and a loaded step."""

    class Literal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 0.5, self.training)

    model, x = Literal(), torch.ones(8)
    with set_rates(model, Schedule.late(1.0, start=1)) as handle:
        assert torch.equal(x, model(x))
        handle.step()
        assert not model(x).any()
        handle.load_state_dict({**handle.state_dict(), "step": 0})
        assert torch.equal(x, model(x))


class Strict:
    """A config that takes whole numbers only where it had one, as some of Hugging Face's."""

    def __init__(self) -> None:
        vars(self).update(dropout=0.1, other_dropout=0)

    def __setattr__(self, name: str, value: float) -> None:
        if name == "other_dropout" and not isinstance(value, int):
            raise TypeError("expected int")
        vars(self)[name] = value

    def to_dict(self) -> dict[str, float]:
        """The fields by name."""
        return dict(vars(self))


class Configured(nn.Module):
    """Built from such a config."""

    def __init__(self, config: Strict) -> None:
        super().__init__()
        self.config = config
        self.drop = nn.Dropout(config.dropout)


def test_strict_config() -> None:
    """A field that takes no rate is left out, and the others are written."""
    model = Configured(Strict())
    set_rates(model, 0.25)
    assert {"dropout": 0.25, "other_dropout": 0} == model.config.to_dict()
