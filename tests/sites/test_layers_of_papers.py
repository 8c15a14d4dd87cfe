"""The layers of papers are sites: found with their rates, silenced, woken and set."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.nn import LayerDrop
from support_layers import CASES, Case

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Model(nn.Module):
    """One layer, by the name "drop"."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.drop = case.make(0.25)

    def forward(self, x: Tensor) -> Any:
        """What the layer says."""
        return self.drop(x)


@every
def test_found(case: Case) -> None:
    """One site, by the layer's name and at its rate, with a batch and without."""
    model = Model(case)
    for sites in (dropkit.find_sites(model), dropkit.find_sites(model, case.x)):
        (site,) = sites
        assert ("drop", type(model.drop).__name__, True) == (site.name, site.kind, site.active)
        assert pytest.approx(0.25) == site.rate
    assert 1 == site.calls


@every
def test_silenced_woken_and_set(case: Case) -> None:
    """Silenced it is what it is in eval; woken in eval it drops; set and undone it is as it was."""
    model = Model(case)
    expected = model.eval()(case.x)
    with dropkit.silence(model.train()):
        assert torch.equal(expected, model(case.x))
    with dropkit.awaken(model.eval()):
        outs = [model(case.x) for _ in range(20)]
        assert any(out.shape != expected.shape or not torch.equal(out, expected) for out in outs)
    assert torch.equal(expected, model(case.x))
    with dropkit.set_rates(model, 0.5):
        assert pytest.approx(0.5) == model.drop.p
    assert pytest.approx(0.25) == model.drop.p


def test_sites_in_a_layer_that_may_be_left_out() -> None:
    """Dropout in the layers of a `LayerDrop` is found, however many a pass would skip."""
    layers = [nn.Sequential(nn.Linear(4, 4), dropkit.nn.Dropout(0.2)) for _ in range(3)]
    model = nn.Sequential(LayerDrop(layers, 0.9))
    sites = dropkit.find_sites(model, torch.ones(2, 4))
    assert [("0", 0.9), ("0.0.1", 0.2), ("0.1.1", 0.2), ("0.2.1", 0.2)] == [
        (site.name, site.rate) for site in sites
    ]
