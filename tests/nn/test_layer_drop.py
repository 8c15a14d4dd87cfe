"""`dropkit.nn.LayerDrop` skips whole layers in training."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dropkit
from dropkit import Address, effective_rate, masks_at
from dropkit.nn import LayerDrop


class Add(nn.Module):
    """Adds a power of two, so that the sum says which layers ran."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
        """`x` and a bit."""
        return x + 2**self.n * self.weight * factor


def stack(n: int = 8, p: float = 0.5) -> LayerDrop:
    """`n` layers that tell on themselves."""
    return LayerDrop([Add(i) for i in range(n)], p)


def test_element_i_decides_on_layer_i() -> None:
    """One pass draws one mask over the layers, and skips those whose element is dropped."""
    layers = stack()
    with masks_at(seed=1):
        out = int(layers(torch.zeros(())))
    address = Address.from_seed(1).fold(0).fold(0).fold("").fold(0)
    mask = dropkit.functional.dropout(torch.ones(8), 0.5, address=address)
    assert [bool(x) for x in mask] == [bool(out & 2**i) for i in range(8)]


def test_each_pass_draws_anew() -> None:
    """Two passes have two masks, and a replay draws both again."""
    layers, zero = stack(), torch.zeros(())
    with masks_at(seed=1):
        first = [int(layers(zero).detach()) for _ in range(2)]
    with masks_at(seed=1):
        again = [int(layers(zero).detach()) for _ in range(2)]
    assert first == again
    assert first[0] != first[1]


def test_share(seed: int, false_alarm: float) -> None:
    """The share of layers that run is a binomial draw, for each layer."""
    layers, n = stack(4, 0.2), 2000
    outs = [int(layers(torch.zeros(()))) for _ in range(n)]
    for i in range(4):
        ran = sum(bool(out & 2**i) for out in outs)
        p_value = stats.binomtest(ran, n, 1 - effective_rate(0.2)).pvalue
        assert p_value > false_alarm / 4, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_eval_and_rates() -> None:
    """In eval and at a rate of 0 all layers run; at 1 none does, and `x` itself comes back."""
    layers, zero = stack(), torch.zeros(())
    assert 255 == int(layers.eval()(zero))
    layers.train().p = 0.0
    assert 255 == int(layers(zero))
    layers.p = 1.0
    assert layers(zero) is zero
    assert LayerDrop()(zero) is zero


def test_further_arguments() -> None:
    """Each layer gets the same further arguments."""
    assert 255 * 3 == int(stack().eval()(torch.zeros(()), 3.0))
    assert 255 * 3 == int(stack().eval()(torch.zeros(()), factor=3.0))


def test_a_loop_of_ones_own() -> None:
    """`kept` gives the layers of one pass, the same that a call runs."""
    layers = stack()
    with masks_at(seed=1):
        called = int(layers(torch.zeros(())))
    with masks_at(seed=1):
        kept = layers.kept()
    assert called == sum(2**layer.n for layer in kept)


def test_is_a_module_list() -> None:
    """Iteration, indices and state dict are a ``ModuleList``'s, in training too."""
    layers, plain = stack(), nn.ModuleList([Add(i) for i in range(8)])
    assert list(range(8)) == [layer.n for layer in layers]
    assert (8, 7, True) == (len(layers), layers[-1].n, layers[3] in layers)
    assert list(plain.state_dict()) == list(layers.state_dict())
    assert nn.ModuleList is type(layers[2:4])
    assert [2, 3] == [layer.n for layer in layers[2:4]]
    del layers[1:]
    layers.append(Add(9)).insert(1, Add(5))
    assert [0, 5, 9] == [layer.n for layer in layers]
    assert isinstance(layers, nn.ModuleList)


def test_examples_do_not_name_layers() -> None:
    """The decision is one for the batch, whatever `rows` says."""
    outs = []
    for rows in (None, 5, [3, 1, 4]):
        with masks_at(seed=1, rows=rows):
            outs.append(stack()(torch.zeros(3)).tolist())
    assert [outs[0]] * 3 == outs


def test_skipped_layers_have_no_gradient() -> None:
    """A layer that was skipped took no part."""
    layers = stack()
    with masks_at(seed=1):
        layers(torch.zeros(())).backward()
    with masks_at(seed=1):
        kept = layers.kept()
    assert [layer in kept for layer in layers] == [
        layer.weight.grad is not None for layer in layers
    ]


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("block", [None, masks_at(seed=1)])
def test_checkpointed(use_reentrant: bool, block: Any) -> None:
    """What a checkpoint recomputes skips the layers that its forward skipped."""

    def gradients(call: Any) -> list[Any]:
        layers = nn.Sequential(LayerDrop([nn.Linear(4, 4) for _ in range(6)], 0.5), nn.Tanh())
        for i, layer in enumerate(layers[0]):
            nn.init.constant_(layer.weight, 0.1 * (i + 1))
            nn.init.zeros_(layer.bias)
        torch.manual_seed(0)
        x = torch.ones(2, 4, requires_grad=True)
        if block is None:
            call(layers, x).sum().backward()
        else:
            with block:
                call(layers, x).sum().backward()
        return [None if p.grad is None else p.grad.tolist() for p in layers.parameters()]

    expected = gradients(lambda layers, x: layers(x))
    found = gradients(lambda layers, x: checkpoint(layers, x, use_reentrant=use_reentrant))
    assert expected == found
    assert None in expected


def test_compiled() -> None:
    """Compiled with breaks in the graph it skips the same layers."""
    layers = stack()
    model = nn.Sequential(layers)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    outs = []
    for run in (model, compiled):
        torch.manual_seed(5)
        outs.append([int(run(torch.zeros(())).detach()) for _ in range(8)])
    assert outs[0] == outs[1]


def test_repr() -> None:
    """The repr is a ``ModuleList``'s with the rate."""
    assert "LayerDrop(p=0.3)" == repr(LayerDrop(p=0.3))
    assert "LayerDrop(\n  p=0.2\n  (0-1): 2 x ReLU()\n)" == repr(LayerDrop([nn.ReLU(), nn.ReLU()]))
