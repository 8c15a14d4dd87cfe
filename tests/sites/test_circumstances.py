"""Modes, devices, types, compilers and checkpoints change nothing about a model's sites."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dropkit import awaken, find_sites, set_rates, silence
from dropkit.errors import OptionError
from dropkit.sites.change import Change
from support_sites import MIXED, Mixed, active, rates

#: torch's compiler looks at the gradient of what it goes on with, where a graph was left.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")

X = torch.linspace(0.5, 2, 200 * 6).reshape(200, 6)


@pytest.mark.parametrize(
    "circumstance",
    [
        torch.no_grad,
        torch.inference_mode,
        torch.enable_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.device("cpu"),
        lambda: torch.device("meta"),
        torch.autograd.graph.save_on_cpu,
    ],
)
def test_where_it_is_run(circumstance: Callable[[], AbstractContextManager[Any]]) -> None:
    """The sites, their calls and elements are the same in every mode and with a default device."""
    model = Mixed()
    expected = find_sites(model, X)
    with circumstance():
        assert expected == find_sites(model, X)
        with set_rates(model, 0.25), silence(model), torch.no_grad():
            assert [] == active(model, X)
    assert [True] * 3 == [site.active for site in expected]
    assert [(1, 1200)] * 3 == [(site.calls, site.elements) for site in expected]


def test_layers_of_channels_in_inference_mode() -> None:
    """The elements of channel dropout are channels, in inference mode too."""
    model, x = nn.Sequential(nn.Dropout2d(0.5), nn.FeatureAlphaDropout(0.5)), torch.ones(2, 3, 4, 4)
    expected = find_sites(model, x)
    assert [6, 6] == [site.elements for site in expected]
    with torch.inference_mode():
        assert expected == find_sites(model, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_types(dtype: torch.dtype) -> None:
    """So it is for every type of numbers."""
    assert find_sites(Mixed(), X) == find_sites(Mixed().to(dtype), X.to(dtype))


def test_a_model_without_numbers() -> None:
    """And for a model that is on no device yet."""
    assert find_sites(Mixed(), X) == find_sites(Mixed().to("meta"), X.to("meta"))


class Forces(nn.Module):
    """An energy's gradient with respect to places."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 6)`` to the same."""
        places = x.detach().requires_grad_()
        (forces,) = torch.autograd.grad(self.energy(places).sum(), places)
        return forces


def test_a_forward_that_asks_for_gradients() -> None:
    """It gets them, and no gradient is left behind."""
    model = Forces()
    assert ["energy.1"] == active(model, X)
    assert all(p.grad is None for p in model.parameters())


def test_an_error_is_the_models_own() -> None:
    """A forward that fails for another reason fails with its own words."""
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        find_sites(Mixed(), torch.ones(2, 3))


class Keys:
    """A batch that is no mapping but has keys, as a BatchEncoding of old."""

    def keys(self) -> list[str]:
        """The one argument."""
        return ["x"]

    def __getitem__(self, key: str) -> Tensor:
        return {"x": X}[key]


@pytest.mark.parametrize("batch", [X, (X,), [X], {"x": X}, OrderedDict(x=X), Keys()])
def test_batches(batch: Any) -> None:
    """A tensor, a tuple or list of arguments, and what maps names to arguments are batches."""
    assert MIXED == rates(Mixed(), batch)


@pytest.mark.parametrize("batch", [3, "text", object(), {1, 2}, iter([X]), nn.Linear(2, 2)])
def test_what_is_no_batch(batch: Any) -> None:
    """Anything else is refused in one sentence, and nothing is run or changed."""
    message = (
        "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; "
        f"got a {type(batch).__name__}."
    )
    model = Mixed()
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        find_sites(model, batch)
    assert MIXED == rates(model, X)


@pytest.fixture
def compiled() -> Iterator[Callable[[nn.Module], Callable[[Tensor], Tensor]]]:
    """Compiles a model, with nothing left of other compilations."""
    torch._dynamo.reset()
    yield lambda model: torch.compile(model, backend="eager")
    torch._dynamo.reset()


def zeros(y: Tensor) -> float:
    """The share of elements that are zero."""
    return float((y == 0).double().mean())


def test_a_compiled_model(compiled) -> None:
    """A compiled model is run uncompiled, under the names of the model, compiled before or not."""
    model = Mixed()
    again = compiled(model)
    assert find_sites(model, X) == find_sites(again, X)
    again(X)
    assert MIXED == rates(again, X)
    model.compile(backend="eager")
    assert MIXED == rates(model, X)


def test_silence_and_compile(compiled) -> None:
    """Silence holds for code compiled before and after, and ends with undo."""
    model = Mixed()
    code = compiled(model)
    assert zeros(code(X)) > 0
    with silence(model):
        assert torch.equal(model.inner(X), code(X))
        assert torch.equal(model.inner(X), compiled(model)(X))
    assert zeros(code(X)) > 0


class Kept(nn.Module):
    """A call at a rate that the module keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout_rate = 0.5

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x`."""
        return F.dropout(x, self.dropout_rate, self.training)


@pytest.mark.parametrize("change", [silence, lambda model: set_rates(model, 1.0)])
def test_kept_rates_stay_in_the_graph(change) -> None:
    """A rate that a module keeps is set there, and the compiled model is one graph."""
    torch._dynamo.reset()
    model = Kept()
    with change(model):
        code = torch.compile(model, backend="eager", fullgraph=True)
        assert zeros(code(X)) == model.dropout_rate


@pytest.mark.parametrize("change", [silence, lambda model: set_rates(model, 0.0)])
def test_what_is_compiled_meanwhile(change, compiled) -> None:
    """A change is for one model: another one of its class, compiled meanwhile, draws as ever."""
    model, other = Mixed(), Mixed()
    with change(model):
        assert torch.equal(model.inner(X), compiled(model)(X))
        assert zeros(compiled(other)(X)) > 0


def test_rates_by_name_and_compile(compiled, false_alarm) -> None:
    """Rates of single calls reach these calls in compiled code, and no others."""
    model = nn.Sequential(Mixed())
    with set_rates(model, {"0.drop": 0.0, "0.dropout#2": 0.0}):
        found = zeros(compiled(model)(X))
    # 1,200 elements at rate 0.4: six standard deviations, 0.085, are passed once in 5e8
    assert false_alarm < 1e-8
    assert abs(found - 0.4) < 0.085
    with set_rates(model, {"0.drop": 0.0, "0.dropout": 1.0}):
        assert 1.0 == zeros(compiled(model)(X))


def test_rates_by_name_need_more_than_one_graph(compiled) -> None:
    """A model that is to be one graph is refused with the reason, instead of other rates."""
    del compiled
    model = Mixed()
    code = torch.compile(model, backend="eager", fullgraph=True)
    with (
        set_rates(model, {"dropout": 0.0}),
        pytest.raises(RuntimeError, match="dropkit sets the rates of single calls"),
    ):
        code(X)


def test_awaken_and_compile(compiled) -> None:
    """One woken call is the only one that draws in compiled code."""
    model = Mixed()
    for name, expected in MIXED.items():
        torch._dynamo.reset()
        with awaken(model, name):
            assert abs(zeros(compiled(model)(X)) - expected) < 0.1


class Checkpointed(nn.Module):
    """Runs a model within a checkpoint."""

    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.model = Mixed()
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 6)`` to the same."""
        return checkpoint(self.model, x, use_reentrant=self.use_reentrant)


@pytest.mark.parametrize(
    "change",
    [
        silence,
        awaken,
        lambda model: set_rates(model, 0.25),
        lambda model: set_rates(model, {"*dropout": 0.0}),
        lambda model: awaken(model, "*#2"),
        lambda _: nullcontext(),
    ],
)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints(use_reentrant: bool, change: Callable[[nn.Module], Change]) -> None:
    """What is recomputed is changed as the forward was: gradients are those without a checkpoint."""
    model = Checkpointed(use_reentrant=use_reentrant)
    leaf = X.clone().requires_grad_()
    expected = {f"model.{name}": rate for name, rate in MIXED.items()}
    assert expected == rates(model, leaf)
    gradients = []
    with change(model):
        for forward in (model, model.model):
            torch.manual_seed(0)
            forward(leaf).square().sum().backward()
            gradients.append(leaf.grad)
            leaf.grad = None
    assert torch.equal(*gradients)
