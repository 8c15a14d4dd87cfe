"""Calls of functions are found and steered, however a model reaches the function."""

import functools
import random
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn
from torch.nn.functional import dropout as renamed

import dropkit
from dropkit import awaken, find_sites, set_rates, silence
from support_sites import active, functions_replaced, rates

X = torch.linspace(0.5, 2, 40 * 6).reshape(40, 6)
MADE_HERE = functools.partial(F.dropout, p=0.4)


class OneCall(nn.Module):
    """Calls one function on its input."""

    def __init__(self, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.call(self, x)


class Renamed(nn.Module):
    """Has imported the function by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return renamed(x, 0.4, self.training)


class OfTheFile(nn.Module):
    """Has a partial in its file."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return MADE_HERE(x, training=self.training)


class Kept(nn.Module):
    """Keeps the function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return self.function(x, 0.4, training=self.training)


class KeptPartial(nn.Module):
    """Keeps a partial of a partial."""

    def __init__(self) -> None:
        super().__init__()
        self.function = partial(partial(F.dropout, p=0.3), p=0.4)

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return self.function(x, training=self.training)


class OtherWord(nn.Module):
    """Has another word for ``self``."""

    def forward(this, x: Tensor) -> Tensor:  # noqa: N805 - what this is about
        """Drop."""
        return F.dropout(x, 0.4, this.training)


class Method(nn.Module):
    """Drops in a method of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return self.dropped(x)

    def dropped(self, x: Tensor) -> Tensor:
        """Drop."""
        return torch.dropout(x, 0.4, self.training)


class OfDropkit(nn.Module):
    """Calls dropkit's function."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return dropkit.functional.dropout(x, 0.4, self.training)


@pytest.mark.parametrize(
    "make",
    [
        *(Renamed, OfTheFile, lambda: Kept(F.dropout), KeptPartial, OtherWord, Method, OfDropkit),
        lambda: Kept(dropkit.functional.dropout),
    ],
)
def test_ways_to_a_function(make: Callable[[], nn.Module]) -> None:
    """It is a site at its rate with a line of this file; it is set, silent, awake and put back."""
    model = nn.Sequential(make())
    before = dict(vars(model[0]))
    (site,) = find_sites(model, X)
    assert ("0.dropout", "dropout", 0.4, True) == (site.name, site.kind, site.rate, site.active)
    assert str(site.where).startswith("tests/sites/test_calls.py:")
    with set_rates(model, 0.25):
        assert {"0.dropout": 0.25} == rates(model, X)
    with set_rates(model, {"0.dropout": 1}):
        assert 0.0 == model(X).abs().max()
    with silence(model):
        assert torch.equal(X, model(X))
    with awaken(model.eval(), "0.dropout"):
        assert ["0.dropout"] == active(model, X)
    assert [] == active(model, X)
    assert before.keys() == vars(model[0]).keys()
    assert before.get("function") is vars(model[0]).get("function")
    assert [] == functions_replaced()
    assert renamed is F.dropout
    assert MADE_HERE.func is F.dropout


def test_names_in_files_count_their_users() -> None:
    """A kept function stays replaced until the last who needs it has left."""
    model = Kept(F.dropout)
    first, second = silence(model), set_rates(model, 0.0)
    first.undo()
    assert torch.equal(X, model(X))
    second.undo()
    assert not torch.equal(X, model(X))
    assert model.function is F.dropout


class Always(nn.Module):
    """Drops in every mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return F.dropout(x, 0.4)


def test_dropout_that_does_not_ask_for_the_mode() -> None:
    """A call that is on in eval is active in eval, and is silenced like any other."""
    model = Always().eval()
    assert ["dropout"] == active(model, X)
    with silence(model):
        assert [] == active(model, X)
        assert torch.equal(X, model(X))


class AtZero(nn.Module):
    """Calls at a rate of 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop nothing."""
        return F.dropout(x, p=0.0, training=True)


def test_a_call_at_rate_0() -> None:
    """It is a site that is not active, and a rate can be given to it."""
    model = AtZero()
    (site,) = find_sites(model, X)
    assert (0.0, False) == (site.rate, site.active)
    with set_rates(model, 0.5):
        assert ["dropout"] == active(model, X)


@pytest.mark.parametrize("rate", [0, 0.5, 1])
def test_every_rate_is_a_float(rate: float) -> None:
    """A rate that was set as a whole number is shown as a float, and 1 is active."""
    model = Renamed()
    with set_rates(model, rate):
        (site,) = find_sites(model, X)
    assert (float, rate > 0) == (type(site.rate), site.active)
    assert rate == site.rate


class Thrice(nn.Module):
    """Calls one function on three lines, the last of them in a loop."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        x = F.dropout(x, 0.1, self.training)
        x = F.dropout(x, 0.2, self.training)
        for _ in range(4):
            x = F.dropout(x, 0.3, self.training)
        return x


def test_calls_of_one_module_are_told_apart() -> None:
    """The second and third line are ``#2`` and ``#3``; a line in a loop is one site."""
    model = nn.Sequential(Thrice())
    expected = {"0.dropout": 0.1, "0.dropout#2": 0.2, "0.dropout#3": 0.3}
    assert expected == rates(model, X)
    assert [1, 1, 4] == [site.calls for site in find_sites(model, X)]
    with set_rates(model, {"0.dropout#2": 0.5}):
        assert {**expected, "0.dropout#2": 0.5} == rates(model, X)
    with set_rates(model, {"0.dropout": 0.5}):
        assert {**expected, "0.dropout": 0.5} == rates(model, X)
    with awaken(model, "*#3"):
        assert ["0.dropout#3"] == active(model, X)


def _by_hand(mask: Callable[[Tensor], Tensor]) -> nn.Module:
    return OneCall(lambda module, x: x * mask(x) if module.training else x)


MASKS = {
    "rand <": lambda x: torch.rand(x.shape) < 0.8,
    "rand_like >": lambda x: (torch.rand_like(x) > 0.2).float() / 0.8,
    "rand, floor": lambda x: torch.floor(0.8 + torch.rand(x.shape[0], 1)),
    "rand, where": lambda x: torch.where(torch.rand_like(x) > 0.2, 1.0, 0.0),
    "rand, generator": lambda x: torch.rand(x.shape, generator=torch.default_generator).le(0.8),
    "rand, item": lambda _: torch.tensor(float(torch.rand(1).item() < 0.8)),
    "rand, bool": lambda _: torch.tensor(1.0 if torch.rand([]) < 0.8 else 0.0),
    "uniform_": lambda x: torch.empty_like(x).uniform_(0, 1).ge(0.2),
    "uniform_, shifted": lambda x: torch.empty_like(x).uniform_().sub(0.2) > 0,
    "bernoulli": lambda x: torch.bernoulli(torch.full_like(x, 0.8)),
    "bernoulli, bool": lambda x: torch.bernoulli(torch.full_like(x, 0.8)).bool(),
    "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(0.8),
    "bernoulli_, bool": lambda x: torch.empty(x.shape, dtype=torch.bool).bernoulli_(0.8),
    "bernoulli_, int": lambda x: torch.empty(x.shape, dtype=torch.int8).bernoulli_(0.8),
    "Bernoulli": lambda x: torch.distributions.Bernoulli(0.8).sample(x.shape),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_made_by_hand(name: str) -> None:
    """A mask of random numbers is one unnamed site, and is drawn in training only."""
    model = _by_hand(MASKS[name])
    (site,) = find_sites(model, X)
    assert ("unnamed", True, 1) == (site.kind, site.active, site.calls)
    assert site.rate in (None, 0.2)
    assert [] == active(model.eval(), X)


@pytest.mark.parametrize("name", [name for name in MASKS if "ernoulli" in name])
def test_bernoulli_masks_fall_silent(name: str) -> None:
    """A mask of Bernoulli numbers is its expectation; of whole numbers or truth values, the likelier."""
    model = _by_hand(MASKS[name])
    with silence(model):
        found = model(X)
        assert torch.equal(found, model(X))
    is_whole = name not in ("bernoulli", "bernoulli_", "Bernoulli")
    torch.testing.assert_close(X * (1.0 if is_whole else 0.8), found)


@pytest.mark.parametrize(
    "mask",
    [
        lambda x: torch.randint(0, 2, x.shape),
        lambda x: torch.randperm(x.shape[1]) > 0,
        lambda x: 1 + 0.1 * torch.randn_like(x),
        lambda _: torch.tensor(float(random.random() < 0.8)),
    ],
)
def test_what_is_not_seen(mask: Callable[[Tensor], Tensor]) -> None:
    """The limits that `find_sites` states are where it states them."""
    assert [] == find_sites(_by_hand(mask), X)


def test_uniform_numbers_that_are_no_mask() -> None:
    """Noise that nothing is compared with is no site."""
    assert [] == find_sites(OneCall(lambda _, x: x + torch.rand_like(x)), X)


class Scripted(nn.Module):
    """To be compiled by ``torch.jit``."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Drop."""
        return self.drop(x) * 2


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_modules() -> None:
    """A scripted part shows the operator that it draws with; what is around it can be set."""
    model = nn.Sequential(torch.jit.script(Scripted()), nn.Dropout(0.1))
    expected = {"0.bernoulli_": 0.5, "1": 0.1}
    assert expected == rates(model, X)
    assert ["1"] == [site.name for site in find_sites(model)]
    with set_rates(model, 0.3):
        assert {**expected, "1": 0.3} == rates(model, X)
