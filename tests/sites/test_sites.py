"""Sites are found where dropout acts, and their rates set and put back."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import dropkit
from dropkit import Site, find_sites, set_rates
from dropkit.errors import RateError, SiteError


class Mine(nn.Dropout):
    """A user's own dropout."""


class Wrapped(nn.Module):
    """A wrapper such as DataParallel."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def _model() -> nn.Module:
    shared = nn.Dropout(0.3)
    return nn.ModuleDict(
        {
            "embed": nn.Sequential(nn.Embedding(3, 4), dropkit.nn.Dropout(0.1)),
            "block": nn.ModuleDict({"attention": Mine(0.2), "out": shared, "again": shared}),
            "head": nn.Sequential(nn.Linear(4, 2), nn.Dropout(0)),
        }
    )


def _rates(model: nn.Module) -> dict[str, float]:
    return {site.name: site.rate for site in find_sites(model)}


BEFORE = {"embed.1": 0.1, "block.attention": 0.2, "block.out": 0.3, "head.1": 0.0}


def test_find() -> None:
    """Sites come in order, with name, kind, rate and whether they act; a shared one once."""
    assert [
        Site("embed.1", "Dropout", 0.1, active=True),
        Site("block.attention", "Mine", 0.2, active=True),
        Site("block.out", "Dropout", 0.3, active=True),
        Site("head.1", "Dropout", 0.0, active=False),
    ] == find_sites(_model())


def test_find_in_eval() -> None:
    """In eval no site acts, except one that was left in training."""
    model = _model().eval()
    model["block"]["out"].train()
    assert [False, False, True, False] == [site.active for site in find_sites(model)]


@pytest.mark.parametrize(
    "kind",
    [
        nn.Dropout,
        nn.Dropout1d,
        nn.Dropout2d,
        nn.Dropout3d,
        nn.AlphaDropout,
        nn.FeatureAlphaDropout,
        dropkit.nn.Dropout,
        Mine,
    ],
)
def test_kinds(kind: type[nn.Module]) -> None:
    """All of torch's dropout layers, ours and a user's are sites."""
    expected = [Site("0", kind.__name__, 0.25, active=True)]
    assert expected == find_sites(nn.Sequential(kind(0.25)))


def test_names_without_wrappers() -> None:
    """A wrapped model has the site names of the model."""
    assert find_sites(_model()) == find_sites(Wrapped(Wrapped(_model())))


def test_names_are_those_of_masks() -> None:
    """A site's name here is the name that `masks_at` folds in."""
    model = nn.Sequential(nn.Sequential(nn.Identity(), dropkit.nn.Dropout(0.5)))
    (site,) = find_sites(model)
    with dropkit.masks_at(seed=1):
        y = model(torch.ones(99))
    address = dropkit.Address.from_seed(1).fold(0).fold(0).fold(site.name).fold(0)
    assert torch.equal(dropkit.functional.dropout(torch.ones(99), 0.5, address=address), y)


def test_no_sites() -> None:
    """A model without dropout has none, and one rate for all of none is no error."""
    model = nn.Linear(2, 2)
    set_rates(model, 0.5)
    assert [] == find_sites(model)


def test_to_dict() -> None:
    """A site is plain data."""
    expected = {"name": "a.b", "kind": "Dropout", "rate": 0.5, "active": True}
    assert expected == Site("a.b", "Dropout", 0.5, active=True).to_dict()


@pytest.mark.parametrize("rate", [0.5, 1, 0, np.float32(0.5)])
def test_one_rate_for_all(rate: float) -> None:
    """A number is the rate of every site, held as a plain float."""
    model = _model()
    set_rates(model, rate)
    assert dict.fromkeys(BEFORE, float(rate)) == _rates(model)
    assert {float} == {type(m.p) for m in model.modules() if isinstance(m, nn.Dropout)}


@pytest.mark.parametrize(
    ("rates", "changed"),
    [
        ({"head.1": 0.7}, {"head.1": 0.7}),
        ({"*.1": 0.7}, {"embed.1": 0.7, "head.1": 0.7}),
        ({"block.*": 0.0, "*": 0.9}, {"embed.1": 0.9, "block.attention": 0.0, "block.out": 0.0, "head.1": 0.9}),
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
    with pytest.raises(RuntimeError, match="^inside$"), set_rates(model, 0.5):
        raise RuntimeError("inside")
    assert BEFORE == _rates(model)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (1.5, "`rates` must be a drop rate in [0, 1]; got 1.5 at site '*'."),
        ("0.1", "`rates` must be a drop rate in [0, 1]; got '0.1' at site '*'."),
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
    message = "`rates` must name sites of the model; no site matches '*'. The model has no dropout module."
    with pytest.raises(SiteError, match="^" + re.escape(message) + "$"):
        set_rates(nn.Linear(2, 2), {"*": 0.1})
