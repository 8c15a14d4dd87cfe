"""Sites are found where dropout acts."""

import pytest
import torch
from torch import nn

import dropkit
from dropkit import Site, find_sites, set_rates


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
    unknown = dict.fromkeys(("where", "calls", "elements"))
    expected = {"name": "a.b", "kind": "Dropout", "rate": 0.5, "active": True, **unknown}
    assert expected == Site("a.b", "Dropout", 0.5, active=True).to_dict()
