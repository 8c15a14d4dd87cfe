"""A compiled graph reads the rate when it runs: a rate that changes compiles nothing anew."""

import contextlib
import copy
import re
from collections.abc import Callable, Iterator

import pytest
import torch
import torch._dynamo.testing
import torch._functorch.config as functorch_config
from torch import Tensor, nn

import dropkit
from dropkit import masks_at
from dropkit.core import ops
from dropkit.core.rate import FROM_SITE
from dropkit.errors import CoreError, RateError
from dropkit.nn._layer import Layer
from support_layers import OF_PAPERS

# Compiling at all makes torch's own code warn; a wrapped module with global hooks does too.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("_fresh_compiler"),
]
#: Twenty rates, with 0 and 1 more than once and not in order.
RATES = [
    0.3,
    0.5,
    0,
    0.1,
    1,
    0.7,
    0.0,
    0.2,
    1.0,
    0.9,
    2**-16,
    0.4,
    0,
    0.05,
    0.6,
    1,
    0.8,
    0.35,
    0,
    0.3,
]


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    """Nothing that another test compiled is used."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Net(nn.Module):
    """Two sites, one of which is called twice."""

    def __init__(self, rate: float, **options) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)
        self.drops = nn.ModuleList(dropkit.nn.Dropout(rate, **options) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Drop before, between and behind."""
        first, second = self.drops
        return second(self.inner(first(x)).sin()) + first(x)


def counted(model: nn.Module, backend: str) -> tuple[Callable[..., Tensor], Callable[[], int]]:
    """The compiled model, and how many graphs were compiled for it so far."""
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    return compiled, lambda: counter.frame_count


def once(function: Callable[..., Tensor], x: Tensor, name: masks_at | None) -> list[Tensor]:
    """Output, gradient, and where the generator stands after one pass over `x`."""
    torch.manual_seed(5)
    x = x.clone().requires_grad_()
    with name or contextlib.nullcontext():
        y = function(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), x), torch.rand(1)]


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("aot_eager", {}),
        ("inductor", {}),
        ("aot_eager", {"mode": "vanilla"}),
        ("aot_eager", {"noise_shape": (None, 1)}),
    ],
)
def test_twenty_rates_and_two_graphs(backend, options) -> None:
    """One graph for all rates above 0 and one, without dropout, for 0; all are as in eager mode."""
    model, x = Net(0.3, **options), torch.linspace(-1, 1, 8 * 16).reshape(8, 16)
    compiled, n_graphs = counted(model, backend)
    for step, rate in enumerate(RATES):
        for layer in model.drops:
            layer.p = rate
        for name in (None, masks_at(3, step=step)):
            for a, b in zip(once(model, x, name), once(compiled, x, name), strict=True):
                torch.testing.assert_close(a, b)
    assert 2 == n_graphs()


def test_dropped_bits_are_eagers() -> None:
    """What is dropped is the same element by element, and kept elements are equal to the bit."""
    layer, x = dropkit.nn.Dropout(0.5), torch.linspace(1, 2, 4096)
    compiled, _ = counted(layer, "inductor")
    for step, rate in enumerate(RATES):
        layer.p = rate
        with masks_at(1, step=step):
            expected = layer(x)
        with masks_at(1, step=step):
            assert torch.equal(expected, compiled(x))


def test_a_schedule_from_zero() -> None:
    """A graph compiled at rate 0 gives way to one that draws, and that one serves from then on."""
    model = Net(0.0)
    compiled, n_graphs = counted(model, "aot_eager")
    graphs = []
    for rate in (0.0, 0.0, 0.1, 0.2, 0.3):
        for layer in model.drops:
            layer.p = rate
        out = compiled(torch.ones(8, 16))
        assert (rate > 0) == bool((out != model.eval()(torch.ones(8, 16))).any())
        model.train()
        graphs.append(n_graphs())
    assert [1, 1, 2, 2, 2] == graphs


def test_rate_zero_is_not_in_the_graph() -> None:
    """Where the rate is 0 a graph has no operator of dropkit's, where it is not it has."""
    seen = []

    def backend(graph, _):
        seen.append([n for n in graph.graph.nodes if "dropkit" in str(n.target)])
        return graph.forward

    layer = dropkit.nn.Dropout(0.0)
    compiled = torch.compile(nn.Sequential(layer, nn.ReLU()), backend=backend, fullgraph=True)
    for rate in (0.0, 0.5):
        layer.p = rate
        compiled(torch.ones(3))
    assert [0, 2] == [len(nodes) for nodes in seen]


def test_each_way_to_set_a_rate() -> None:
    """An attribute, `set_rates`, a copy, a layer that was adopted: no way is missed."""
    model = nn.Sequential(nn.Dropout(0.0), nn.ReLU())
    with dropkit.accelerate(model):
        compiled, _ = counted(model[0], "aot_eager")
        x = torch.ones(64)
        assert torch.equal(x, compiled(x))
        with dropkit.set_rates(model, 0.5):
            assert {0.0, 2.0} == set(compiled(x).tolist())
            other = copy.deepcopy(model[0])
        assert torch.equal(x, compiled(x))
        compiled, _ = counted(other, "aot_eager")
        assert {0.0, 2.0} == set(compiled(x).tolist())
        other.p = 0.0
        assert torch.equal(x, compiled(x))
    assert {"p", "inplace"} == {name for name in vars(model[0]) if not name.startswith("_")} - {
        "training"
    }
    assert "_is_off" not in vars(model[0])


def test_vanilla_in_eval() -> None:
    """The original form's factor in eval is read when the graph runs, too."""
    layer = dropkit.nn.Dropout(0.5, mode="vanilla").eval()
    x = torch.tensor([1.0, -2.0, torch.inf, 3.3])
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        compiled, n_graphs = counted(layer, "inductor")
        for rate in RATES:
            layer.p = rate
            assert torch.equal(layer(x.to(dtype)), compiled(x.to(dtype)))
        assert n_graphs() <= 2


@pytest.mark.parametrize("budget", [0.0, 0.3])
def test_recomputation_has_forwards_rate(budget) -> None:
    """What is recomputed in backward is dropped at forward's rate, though it has changed since."""
    model = Net(0.5)

    def gradient(function) -> Tensor:
        torch.manual_seed(1)
        model.drops[0].p, model.drops[1].p = 0.5, 0.3
        x = torch.ones(8, 16, requires_grad=True)
        loss = function(x).sum()
        model.drops[0].p = model.drops[1].p = 0.9
        return torch.autograd.grad(loss, x)[0]

    with functorch_config.patch(activation_memory_budget=budget):
        compiled, _ = counted(model, "aot_eager")
        torch.testing.assert_close(gradient(model), gradient(compiled))


def test_a_rate_that_is_none() -> None:
    """A wrong rate is refused when the graph runs, in the words of eager mode."""
    layer = dropkit.nn.Dropout(0.5)
    compiled, _ = counted(layer, "aot_eager")
    compiled(torch.ones(3))
    layer.p = 1.5
    message = "`p` must be a drop rate in [0, 1]; got 1.5."
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        compiled(torch.ones(3))


def test_a_layer_that_is_gone() -> None:
    """A draw whose layer is no more says so."""
    number = ops.site_number(dropkit.nn.Dropout(0.5))
    message = "a compiled graph has outlived the layer whose rate it reads."
    with pytest.raises(CoreError, match="^" + re.escape(message) + "$"):
        torch.ops.dropkit.draw(FROM_SITE, number)


@pytest.mark.parametrize("strict", [False, True])
def test_export_keeps_the_rate(strict) -> None:
    """An exported program has the rate in it: in another process there is no layer to ask."""
    program = torch.export.export(dropkit.nn.Dropout(0.5), (torch.ones(64),), strict=strict)
    draws = [node.args[0] for node in program.graph.nodes if "draw" in str(node.target)]
    assert [32768] == draws
    assert {0.0, 2.0} == set(program.module()(torch.ones(64)).tolist())


LAYERS = sorted(  # those of papers have a file of their own
    (
        x
        for x in vars(dropkit.nn).values()
        if isinstance(x, type) and issubclass(x, Layer) and x.__name__ not in OF_PAPERS
    ),
    key=lambda layer: layer.__name__,
)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_every_layer(layer: type[Layer]) -> None:
    """Each layer that dropkit has: two graphs for all rates, and eager mode's masks."""
    module = layer(0.5)
    n_dims = {"1d": 3, "2d": 4, "3d": 5}.get(layer.__name__[-2:], 3)
    x = torch.linspace(-1, 1, 4**n_dims).reshape((4,) * n_dims)
    compiled, n_graphs = counted(module, "aot_eager")
    for step, rate in enumerate((0.5, 0.1, 0.0, 1.0, 0.3)):
        module.p = rate if layer is not dropkit.nn.GaussianDropout else 0.9 * rate
        for name in (masks_at(2, step=step), None):
            for a, b in zip(once(module, x, name), once(compiled, x, name), strict=True):
                torch.testing.assert_close(a, b)
    assert 2 == n_graphs()
