"""Layers of every kind are found, set, silenced and woken."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit import awaken, find_sites, set_rates, silence
from dropkit.errors import RateError, SiteError
from support_layers import CASES
from support_sites import active, rates

FEATURES = torch.linspace(0.5, 2, 4 * 6 * 5).reshape(4, 6, 5)
MAPS = FEATURES.unsqueeze(-1).expand(4, 6, 5, 5)


class ByHand(nn.Dropout):
    """A user's dropout with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero what a mask of random numbers says."""
        return x * (torch.rand_like(x) >= self.p) / (1 - self.p) if self.training else x


class DropSome(nn.Module):
    """Somebody's layer whose rate may be None for none."""

    def __init__(self, drop_prob: float | None) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements."""
        if not self.drop_prob:
            return x
        return nn.functional.dropout(x, self.drop_prob, self.training)


LAYERS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    **{name: (lambda case=case: case.make(0.5), case.x) for name, case in CASES.items()},
    **{
        f"{room.__name__}.{name}": (lambda room=room, name=name: getattr(room, name)(0.5), x)
        for room in (torch.nn, dropkit.nn)
        for name, x in (
            ("Dropout", FEATURES),
            ("Dropout1d", FEATURES),
            ("Dropout2d", MAPS),
            ("AlphaDropout", FEATURES),
            ("FeatureAlphaDropout", FEATURES),
        )
    },
    "dropkit.nn.GaussianDropout": (lambda: dropkit.nn.GaussianDropout(0.5), FEATURES),
    "dropkit.nn.LockedDropout": (lambda: dropkit.nn.LockedDropout(0.5), FEATURES),
    "a user's": (lambda: ByHand(0.5), FEATURES),
    "somebody's": (lambda: DropSome(0.5), FEATURES),
}


def test_every_layer_of_dropkit_is_here() -> None:
    """No layer of `dropkit.nn` is left out below."""
    here = {type(make()).__name__ for make, _ in LAYERS.values()}
    assert {*dropkit.nn.__all__} - {"Dropout3d"} <= here


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    """A layer is one site at its rate; it is set, silent, awake, and put back."""
    make, x = LAYERS[name]
    model = nn.Sequential(nn.Identity(), make())
    (before,) = find_sites(model, x)
    assert ("1", 0.5, True, 1) == (before.name, before.rate, before.active, before.calls)
    assert type(model[1]).__name__ == before.kind
    assert before.elements
    with set_rates(model, 0.25):
        assert {"1": 0.25} == rates(model, x)
    with silence(model):
        silent = model(x)
        assert torch.equal(silent, model(x))
        assert [] == active(model, x)
    model.eval()
    torch.testing.assert_close(silent, model(x))
    with awaken(model):
        assert ["1"] == active(model, x)
    assert [] == active(model, x)
    assert [before] == find_sites(model.train(), x)


@pytest.mark.parametrize("logit", [0.1, -3.3, 20.0, -120.0])
def test_a_learned_rate_comes_back_to_the_bit(logit: float) -> None:
    """Looking at a learned rate, setting and silencing it leave its parameter as it was."""
    layer = dropkit.nn.ConcreteDropout(nn.Linear(6, 2))
    layer.p_logit.data.fill_(logit)
    before = layer.p_logit.detach().clone()
    find_sites(layer, torch.ones(3, 6))
    assert torch.equal(before, layer.p_logit)
    first, second = set_rates(layer, 0.25), silence(layer)
    first.undo()
    assert layer.p == 0.0
    second.undo()
    assert torch.equal(before, layer.p_logit)


def test_layers_of_a_layer_drop_are_all_seen() -> None:
    """Sites in layers that a run may skip are met, whatever the rate of skipping."""
    layers = dropkit.nn.LayerDrop([nn.Dropout(0.1) for _ in range(20)], p=1.0)
    found = find_sites(layers, torch.ones(2, 3))
    assert ("", "LayerDrop", 1.0, True) == (
        *(found[0].name, found[0].kind, found[0].rate),
        found[0].active,
    )
    assert [1] * 20 == [site.calls for site in found[1:]]


def test_a_rate_that_a_layer_cannot_act_at() -> None:
    """A layer that refuses a rate refuses it when it is set, and nothing is changed."""
    model = nn.Sequential(nn.Dropout(0.1), dropkit.nn.GaussianDropout(0.2))
    with pytest.raises(RateError, match=r"below 1 for gaussian dropout; got 1\.0"):
        set_rates(model, 1.0)
    assert [0.1, 0.2] == [site.rate for site in find_sites(model)]


@pytest.mark.parametrize("rate", [0, 1, 0.0, 1.0, None])
def test_rates_at_the_ends(rate: float | None) -> None:
    """A whole rate and a None are rates; at 1 a site acts, at 0 it does not."""
    for layer in (DropSome(rate), nn.Dropout(rate or 0)):
        (site,) = find_sites(layer, torch.ones(3))
        assert (float(rate or 0), bool(rate)) == (site.rate, site.active)
        with set_rates(layer, 0.5):
            assert [""] == active(layer, torch.ones(3))
        assert [site] == find_sites(layer, torch.ones(3))


class Reader(nn.Module):
    """Reads what a recurrent layer makes of padded or packed sequences."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor | nn.utils.rnn.PackedSequence) -> Tensor:
        """The outputs."""
        return self.layer(x)[0][0]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: type[nn.RNNBase], is_packed: bool) -> None:
    """What recurrent layers drop between two layers is a site, for packed sequences too."""
    model = Reader(kind(6, 5, 2, dropout=0.3, bidirectional=True))
    x = torch.linspace(-1, 1, 7 * 3 * 6).reshape(7, 3, 6)
    batch = (nn.utils.rnn.pack_padded_sequence(x, [7, 5, 2]) if is_packed else x,)
    (site,) = find_sites(model, batch)
    n_steps = 14 if is_packed else 21
    expected = ("layer", kind.__name__, 0.3, True, 1, n_steps * 10)
    assert expected == (
        *(site.name, site.kind, site.rate, site.active),
        *(site.calls, site.elements),
    )
    with silence(model):
        assert torch.equal(model(*batch), model(*batch))
    with set_rates(model, 0.25):
        assert {"layer": 0.25} == rates(model, batch)
    with awaken(model.eval()):
        assert not torch.equal(model(*batch), model(*batch))


def test_one_recurrent_layer_drops_nothing() -> None:
    """The rate of a recurrent layer with nothing to drop between is not active."""
    model = Reader(nn.GRU(6, 5, 1))
    model.layer.dropout = 0.5
    assert [False] == [site.active for site in find_sites(model, torch.ones(2, 3, 6))]
    assert [False] == [site.active for site in find_sites(model)]


@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_module(need_weights: bool) -> None:
    """``nn.MultiheadAttention`` is one site, whether it gives weights or not."""
    model = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
    x = torch.linspace(-1, 1, 2 * 5 * 8).sin().reshape(2, 5, 8)
    batch = {"query": x, "key": x, "value": x, "need_weights": need_weights}
    (site,) = find_sites(model, batch)
    assert ("", 0.3, True, 2 * 2 * 5 * 5) == (site.name, site.rate, site.active, site.elements)
    with silence(model):
        assert torch.equal(model(**batch)[0], model(**batch)[0])
    with awaken(model.eval()):
        assert not torch.equal(model(**batch)[0], model(**batch)[0])


def test_fast_path_of_an_encoder() -> None:
    """In eval torch's encoder has a fast way without dropout; one woken site keeps it off it."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.linspace(-1, 1, 80).reshape(2, 5, 8)
    with torch.no_grad():
        expected = model(x)
        for name in [site.name for site in find_sites(model, x)]:
            with awaken(model, name):
                assert [name] == active(model, x)
                assert not torch.equal(model(x), model(x))
        assert torch.equal(expected, model(x))


def test_a_shared_layer_is_one_site() -> None:
    """A layer under two names has the first, for all its calls; the other one names nothing."""
    shared = nn.Dropout(0.3)
    model, x = nn.Sequential(shared, nn.Linear(6, 6), shared), torch.ones(4, 6)
    (site,) = find_sites(model, x)
    assert ("0", 2, 48) == (site.name, site.calls, site.elements)
    with pytest.raises(SiteError, match=r"no site matches '2'\. The first of 1 sites is '0'\.$"):
        set_rates(model, {"2": 0.1})


def test_names_are_those_within_wrappers() -> None:
    """``DataParallel`` adds nothing to names, and what is done to the wrapped model holds in it."""
    model, x = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)), torch.ones(4, 6)
    wrapped = nn.DataParallel(model)
    assert find_sites(model, x) == find_sites(wrapped, x)
    with silence(model):
        assert torch.equal(wrapped(x), wrapped(x))
