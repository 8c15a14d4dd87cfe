"""What every layer of papers promises; what is special to one is in its own file."""

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

from dropkit import masks_at
from dropkit.errors import RateError
from dropkit.functional import drop_path_rates
from dropkit.nn import DropBlock2d, DropBlock3d, DropPath, StochasticDepth
from support_layers import CASES, Case

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
NAMES = [None, masks_at(3, step=1), masks_at(3, rows=range(8, 24)), masks_at(3, rows=5)]


def run(layer: Callable[[Tensor], Tensor], x: Tensor, name: Any = None, calls: int = 2) -> Tensor:
    """Some calls of the layer, ambient or in a block, joined."""
    torch.manual_seed(5)
    with name or contextlib.nullcontext():
        return torch.stack([layer(x) for _ in range(calls)])


def results(layer: nn.Module, call: Any, x: Tensor, name: Any = None) -> list[Tensor]:
    """Output, gradients of input and parameters, and where the generator stands."""
    layer.zero_grad(set_to_none=True)
    if x.is_floating_point():
        x = x.clone().requires_grad_()
    y = run(call, x, name)
    if y.requires_grad:
        y.square().sum().backward()
    grads = [p.grad for p in layer.parameters() if p.grad is not None]
    return [y, *grads, *([x.grad] if x.grad is not None else []), torch.rand(1)]


def agree(some: list[Tensor], others: list[Tensor]) -> None:
    """Equal up to the roundings that a compiler may take another way."""
    for a, b in zip(some, others, strict=True):
        torch.testing.assert_close(a, b)


def names_for(case: Case) -> list[Any]:
    """The kinds of name that fit the case's input."""
    n = len(case.x)
    return [*NAMES[:2], masks_at(3, rows=range(8, 8 + n)), NAMES[3]]


@every
def test_off_in_eval(case: Case) -> None:
    """In eval it draws nothing, and is exactly what it is in training at a rate of 0."""
    layer, x = case.make(0.5), case.x
    layer.p = 0.0
    expected = layer(x)
    layer.p = 0.5
    layer.eval()
    torch.manual_seed(1)
    nothing_drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(expected, layer(x))
    assert torch.equal(nothing_drawn, torch.rand(1))
    if not list(layer.children()):
        assert layer(x) is x


@every
def test_masks_differ_and_come_back(case: Case) -> None:
    """Each call has a mask of its own; the seed of torch and a name bring all back."""
    layer = case.make(0.5)
    for name in names_for(case):
        calls = run(layer, case.x, name, calls=8)
        assert torch.equal(calls, run(layer, case.x, name, calls=8))
        assert not all(torch.equal(calls[0], other) for other in calls[1:])


@every
def test_a_site_has_its_name(case: Case) -> None:
    """In a model its masks are those of its dotted path."""
    here, there = case.make(0.5), case.make(0.5)

    class Model(nn.Module):
        def __init__(self, layer: nn.Module, path: str) -> None:
            super().__init__()
            self.add_module(path, layer)

        def forward(self, x: Tensor) -> Tensor:
            return next(self.children())(x)

    named = run(Model(here, "drop"), case.x, NAMES[1])
    assert torch.equal(named, run(Model(there, "drop"), case.x, NAMES[1]))
    assert not torch.equal(named, run(Model(there, "other"), case.x, NAMES[1]))


@every
def test_rows(case: Case) -> None:
    """An example's mask is its own under `rows`, where there are examples; else rows do nothing."""
    layer, x = case.make(0.5), case.x
    half = len(x) // 2
    with masks_at(3, rows=range(len(x))):
        whole = layer(x)
    with masks_at(3):
        assert torch.equal(whole, layer(x))
    with masks_at(3, rows=range(half, len(x))):
        part = layer(x[half:])
    with masks_at(3):
        without = layer(x[half:])
    if case.follows_rows:  # DropBlock's scale is of the batch, its mask is of the example
        assert torch.equal(case.seen(whole[half:]), case.seen(part))
        assert not torch.equal(case.seen(whole[half:]), case.seen(without))
    else:
        assert torch.equal(whole[half:], part)
        assert torch.equal(whole[half:], without)


@every
def test_copies(case: Case, again: Any) -> None:
    """A copy, a pickle and a saved file bring back the same layer, also after a step."""
    layer = case.make(0.3)
    run(layer, case.x)
    other = again(layer.eval())
    assert (type(layer), repr(layer), False) == (type(other), repr(other), other.training)
    for name in names_for(case):
        expected = run(layer.train(), case.x, name)
        assert torch.equal(expected, run(other.train(), case.x, name))


@every
@pytest.mark.parametrize("use_reentrant", [True, False], ids=["reentrant", "hooks"])
def test_checkpointed(case: Case, use_reentrant: bool) -> None:
    """Checkpointed it has the outputs and gradients that it has without, by both kinds."""
    layer = case.make(0.5)
    for name in names_for(case):
        expected = results(layer, layer, case.x, name)
        if use_reentrant and not case.x.is_floating_point():
            continue  # torch's first kind records nothing without an input that needs a gradient

        def checkpointed(x: Tensor) -> Tensor:
            return checkpoint(layer, x, use_reentrant=use_reentrant)

        agree(expected, results(layer, checkpointed, case.x, name))


@every
@pytest.mark.filterwarnings("ignore")  # compiling at all makes torch's own code warn
def test_compiled(case: Case) -> None:
    """Compiled, in one graph where that can be, it has eager's outputs and gradients."""
    torch._dynamo.reset()
    layer = case.make(0.5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=not case.breaks_graph)
    for name in names_for(case):
        agree(results(layer, layer, case.x, name), results(layer, compiled, case.x, name))


@every
@pytest.mark.filterwarnings("ignore")
def test_compiled_once_for_all_rates(case: Case) -> None:
    """A rate that changes compiles nothing anew, save for 0 and where shapes depend on it."""
    torch._dynamo.reset()
    layer = case.make(0.5)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, backend=counter, fullgraph=not case.breaks_graph)
    for rate in case.rates:
        layer.p = rate
        for name in (None, masks_at(2)):
            agree(results(layer, layer, case.x, name), results(layer, compiled, case.x, name))
    if case.graphs is not None:
        assert case.graphs == counter.frame_count


@every
def test_rate(case: Case) -> None:
    """`p` holds the rate: what is set later acts at the next call, and is checked there."""
    layer = case.make(0.25)
    assert 16384 == layer.threshold
    assert pytest.approx(0.25) == layer.p
    assert isinstance(layer, _DropoutNd)
    expected = run(case.make(0.5), case.x, NAMES[1])
    layer.p = 0.5
    assert torch.equal(expected, run(layer, case.x, NAMES[1]))
    message = f"`{case.rate}` must be a drop rate in [0, 1]; got 1.5."
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        _set_and_call(layer, 1.5, case.x)


def _set_and_call(layer: nn.Module, p: float, x: Tensor) -> None:
    layer.p = p
    layer(x)


@every
@pytest.mark.parametrize(
    ("p", "message"),
    [
        (-0.5, "must be a drop rate in [0, 1]; got -0.5."),
        (float("nan"), "must be a drop rate in [0, 1]; got nan."),
        (50, "must be a drop rate in [0, 1]; got 50. Did you mean 0.5?"),
    ],
)
def test_rate_is_checked(case: Case, p: float, message: str) -> None:
    """A wrong rate is refused by the constructor, under the name it has there."""
    with pytest.raises(RateError, match="^" + re.escape(f"`{case.rate}` {message}") + "$"):
        case.make(p)


FLOATS = {
    "DropBlock2d": lambda: (DropBlock2d(0.9, 2), torch.Size((8, 3, 5, 5))),
    "DropBlock3d": lambda: (DropBlock3d(0.9, 2), torch.Size((8, 3, 5, 5, 5))),
    "DropPath": lambda: (DropPath(0.5), torch.Size((32, 3))),
    "StochasticDepth": lambda: (StochasticDepth(0.5, "row"), torch.Size((32, 3))),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, -1.0])
def test_dropped_is_plus_zero(name: str, value: float, bits: Callable[[Tensor], list[int]]) -> None:
    """What is dropped is +0 whatever it was, and so is its gradient."""
    layer, shape = FLOATS[name]()
    with masks_at(3):
        mask = layer(torch.ones(shape))
    x = torch.full(shape, value, requires_grad=True)
    with masks_at(3):
        y = layer(x)
    y.backward(torch.full(shape, value))
    assert 0.1 < float((mask == 0).float().mean()) < 0.9
    assert {0} == set(bits(y[mask == 0]))
    assert {0} == set(bits(x.grad[mask == 0]))
    assert torch.equal(torch.full(shape, value)[mask != 0] * mask[mask != 0], y[mask != 0]) or (
        value != value  # noqa: PLR0124 - nan
    )


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    """Each type has the mask of float32, its own dtype, and its scale up to its own rounding."""
    layer, shape = FLOATS[name]()
    with masks_at(3):
        expected = layer(torch.ones(shape))
    with masks_at(3):
        found = layer(torch.ones(shape, dtype=dtype))
    assert dtype == found.dtype
    torch.testing.assert_close(found.float(), expected, rtol=4e-3, atol=0)


@pytest.mark.parametrize("name", FLOATS)
def test_gradcheck(name: str) -> None:
    """First and second gradients are right in float64."""
    layer, shape = FLOATS[name]()
    small = (4, 2, *(3 for _ in shape[2:]))
    x = torch.randn(small, dtype=torch.float64, requires_grad=True)

    def named(x: Tensor) -> Tensor:
        with masks_at(3):
            return layer(x)

    assert torch.autograd.gradcheck(named, x)
    assert torch.autograd.gradgradcheck(named, x)


@pytest.mark.parametrize("name", FLOATS)
def test_nothing_is_stored(name: str) -> None:
    """Forward keeps some bytes for backward, and nothing as large as the mask."""
    layer, shape = FLOATS[name]()
    x = torch.ones(shape, requires_grad=True)
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (sizes.append(t.numel()), t)[1], lambda t: t
    ):
        layer(x)
    assert sum(sizes) <= 3


def test_rates_over_depth() -> None:
    """The rates of a stack of blocks are those of the rule."""
    blocks = [DropPath(p) for p in drop_path_rates(0.3, 4)]
    torch.testing.assert_close([0.0, 0.1, 0.2, 0.3], [block.p for block in blocks])
