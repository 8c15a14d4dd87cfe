"""Compiled code draws the bits of eager code, in forward and in backward."""

import pytest
import torch
import torch._dynamo.testing
import torch._functorch.config as functorch_config
from torch import Tensor, nn

import dropkit
from dropkit import Address, masks_at

# Compiling at all makes torch's own code warn; a wrapped module with global hooks does too.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("_fresh_compiler"),
]
NAMES = [None, masks_at(3, step=1), masks_at(3, rows=range(8, 16)), masks_at(3, rows=5)]


@pytest.fixture
def _fresh_compiler() -> None:
    """Nothing that another test compiled is used."""
    torch._dynamo.reset()


class Branches(nn.Module):
    """Many draws, some of which do not depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)
        self.drops = nn.ModuleList(dropkit.nn.Dropout(p) for p in (0.1, 0.5, 0.3, 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Three branches and a layer that is called twice."""
        a = self.drops[0](self.inner(x)).sin()
        b = self.drops[1](x[:, :3].exp())
        c = dropkit.functional.dropout(x.mean(1, keepdim=True), 0.5)
        c = dropkit.functional.dropout(c, 0.5, address=Address(1, 2), mode="vanilla")
        d = self.drops[2](self.drops[2](self.inner(a)))
        return (self.drops[3](d) + b.sum(1, keepdim=True) * c).tanh()


def trained(model, function, name) -> list[Tensor]:
    """Output, gradients, and where the generator stands after one pass."""
    torch.manual_seed(5)
    model.zero_grad()
    x = torch.linspace(-1, 1, 8 * 16).reshape(8, 16)
    if name is None:
        y = function(x)
    else:
        with name:
            y = function(x)
    y.square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    return [y.detach(), *gradients, torch.rand(1)]


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_is_eager(backend) -> None:
    """With fullgraph, ambient and under every kind of name: all agree, the generator too."""
    model = Branches()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for name in NAMES:
        expected, found = trained(model, model, name), trained(model, compiled, name)
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("budget", [0.0, 0.3])
def test_recomputation_under_a_memory_budget(budget) -> None:
    """What the compiler recomputes in backward has forward's masks, ambient and named."""
    model = Branches()
    with functorch_config.patch(activation_memory_budget=budget):
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        for name in (None, NAMES[2]):
            expected, found = trained(model, model, name), trained(model, compiled, name)
            for a, b in zip(expected, found, strict=True):
                torch.testing.assert_close(a, b)


def test_two_forwards_before_their_backwards() -> None:
    """Each backward has the masks of its own forward, in whatever order they come."""
    model = Branches()
    x = torch.ones(8, 16, requires_grad=True)

    def gradients(function) -> list[Tensor]:
        torch.manual_seed(1)
        first, second = function(x).sum(), function(x).sum()
        return [torch.autograd.grad(loss, x)[0] for loss in (first, second)]

    with functorch_config.patch(activation_memory_budget=0.0):
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        for a, b in zip(gradients(model), gradients(compiled), strict=True):
            torch.testing.assert_close(a, b)


def test_new_masks_do_not_recompile() -> None:
    """Steps, samples and seeds are run-time data."""
    model = Branches()
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(4):
        with masks_at(seed=1, step=step):
            compiled(torch.ones(8, 16))
    assert counter.frame_count == 1


def test_compiled_dropout_in_eval_is_nothing() -> None:
    """In eval the compiled module is the identity, bit for bit."""
    compiled = torch.compile(dropkit.nn.Dropout(0.5).eval(), backend="aot_eager", fullgraph=True)
    x = torch.ones(3, 3)
    assert torch.equal(compiled(x), x)


class Blocks(nn.Module):
    """A model of blocks that are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 16), dropkit.nn.Dropout(0.5)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """One after another."""
        for block in self.blocks:
            x = block(x)
        return x


def _module(model: nn.Module):
    return torch.compile(model, backend="aot_eager")


def _function(model: nn.Module):
    return torch.compile(lambda x: model(x) * 1.0, backend="aot_eager", fullgraph=True)


def _in_place(model: nn.Module):
    model.compile(backend="aot_eager")
    return model


def _method(model: nn.Module):
    model.forward = torch.compile(model.forward, backend="aot_eager")
    return model


@pytest.mark.parametrize("compiled", [_module, _function, _in_place, _method])
def test_names_in_compiled_code(compiled) -> None:
    """However a model is compiled, a name gives its eager masks: at first, and in later blocks."""
    model, x = Blocks(), torch.ones(4, 16)
    expected = []
    for step in range(2):
        with masks_at(3, step=step):
            expected.append(model(x))
    function = compiled(model)
    for step in (0, 1, 0):
        with masks_at(3, step=step):
            assert torch.equal(expected[step], function(x))


def test_blocks_compiled_one_by_one_share_a_graph() -> None:
    """Within a model that runs in eager mode, names bind no graph to one of its blocks."""
    model, x = Blocks(), torch.ones(4, 16)
    with masks_at(3):
        expected = model(x)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    for block in model.blocks:
        block.compile(backend=counter)
    with masks_at(3):
        found = model(x)
    assert torch.equal(expected, found)
    assert counter.frame_count == 1
