"""Dropout in front of an adapter keeps no copy of its input, and is what it was otherwise."""

import copy
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dropkit
from dropkit.errors import RatesWarning


class Block(nn.Module):
    """Two linear layers that read the same input, as query and value do."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.v = nn.Linear(16, 8), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, length, 16)`` to ``(batch, length, 8)``."""
        return self.q(x).tanh() * self.v(x)


def _adapted(p: float = 0.3, **options: Any) -> nn.Module:
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=4, target_modules=["q", "v"], lora_dropout=p, init_lora_weights=False, **options
    )
    return peft.get_peft_model(Block(), config)


def _kept(model: nn.Module, x: Tensor) -> int:
    """How many tensors as large as `x`, other than `x`, a forward keeps for its backward."""
    kept: set[int] = set()
    queue, done = [model(x).grad_fn], set()
    alive = []  # so that no address is used twice
    while queue:
        node = queue.pop()
        if node is None or node in done:
            continue
        done.add(node)
        queue.extend(after for after, _ in node.next_functions)
        for name in dir(node):
            if name.startswith("_saved_"):
                once, twice = getattr(node, name), getattr(node, name)
                if isinstance(once, Tensor) and once.numel() == x.numel():
                    alive += [once, twice]
                    if once.data_ptr() == twice.data_ptr():  # what is drawn again is new each time
                        kept.add(once.data_ptr())
    return len(kept - {x.data_ptr()})


def _gradients(model: nn.Module, x: Tensor, run: Any = None) -> list[Tensor]:
    """Of all adapters, and of `x` if it asks for one."""
    with dropkit.masks_at(seed=3):
        out = model(x) if run is None else run(x)
    weights = [w for w in (x, *model.parameters()) if w.requires_grad]
    for weight in weights:
        weight.grad = None
    out.square().sum().backward()
    return [out, *(weight.grad for weight in weights if weight.grad is not None)]


@pytest.mark.parametrize(("needs_grad", "n_kept"), [(False, 2), (True, 4)])
def test_no_copy_is_kept(needs_grad: bool, n_kept: int) -> None:
    """Plain PEFT keeps one for each adapter, and torch a mask for each; accelerated PEFT nothing."""
    x = torch.randn(3, 5, 16, requires_grad=needs_grad)
    model = _adapted()
    assert n_kept == _kept(model, x)
    with dropkit.accelerate(model):
        assert 0 == _kept(model, x)
        with dropkit.masks_at(seed=1):  # as in a fine-tuning
            assert 0 == _kept(model, x)
    assert n_kept == _kept(model, x)


@pytest.mark.parametrize("needs_grad", [False, True])
def test_gradients_are_those_of_the_layers(needs_grad: bool) -> None:
    """To the bit those of dropkit's own dropout in front of the adapter, which keeps the copy."""
    x = torch.randn(3, 5, 16, requires_grad=needs_grad)
    model = _adapted()
    with dropkit.accelerate(model):
        ours = _gradients(model, x)
    twin = copy.deepcopy(model)
    for name, module in twin.named_modules():
        if type(module) is nn.Dropout:
            parent, _, leaf = name.rpartition(".")
            setattr(twin.get_submodule(parent), leaf, dropkit.nn.Dropout(module.p))
    theirs = _gradients(twin, x)
    assert len(ours) == len(theirs) == (6 if needs_grad else 5)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(1)
    assert not torch.equal(ours[0], _adapted(0.0)(x))  # it did drop


def test_mask_is_right_in_double_backward() -> None:
    """A gradient of a gradient sees the input through the same mask."""
    model = _adapted().double()
    x = torch.randn(2, 3, 16, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor) -> Tensor:
        with dropkit.masks_at(seed=3):
            return model(x)

    with dropkit.accelerate(model):
        assert torch.autograd.gradcheck(run, (x,))
        assert torch.autograd.gradgradcheck(run, (x,))


def test_input_changed_in_place_is_told() -> None:
    """By autograd, as of anything that it keeps."""
    model, x = _adapted(), torch.randn(2, 3, 16)
    with dropkit.accelerate(model):
        out = model(x)
        x.add_(1.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints(use_reentrant: bool) -> None:
    """Recomputed with the same masks."""
    x = torch.randn(3, 5, 16, requires_grad=True)
    model = _adapted()
    with dropkit.accelerate(model):
        plain = _gradients(model, x)
        again = _gradients(model, x, lambda x: checkpoint(model, x, use_reentrant=use_reentrant))
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)


def test_other_readers_do_no_harm() -> None:
    """DoRA, autocast, eval and a rate of 0."""
    x = torch.randn(3, 5, 16)
    dora = _adapted(use_dora=True)
    with dropkit.accelerate(dora):
        assert all(g.isfinite().all() for g in _gradients(dora, x))
    model = _adapted()
    expected = model.eval()(x)
    with dropkit.accelerate(model):
        assert torch.equal(expected, model(x))
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            assert all(g.isfinite().all() for g in _gradients(model, x))
        dropkit.set_rates(model, 0.0)
        assert torch.equal(expected, model(x))


def test_sites_stay_as_they_are() -> None:
    """Names, kinds, repr and state dict; each can be set alone; undone, they are torch's again."""
    model = _adapted()
    before = (repr(model), list(model.state_dict()))
    x = torch.randn(3, 5, 16)
    found = [(s.name, s.kind, s.rate) for s in dropkit.find_sites(model, x)]
    change = dropkit.accelerate(model)
    assert before == (repr(model), list(model.state_dict()))
    assert found == [(s.name, s.kind, s.rate) for s in dropkit.find_sites(model, x)]
    with pytest.warns(RatesWarning, match="^the config field 'lora_dropout' stays 0.3"):
        rated = dropkit.set_rates(model, {"*q.lora_dropout*": 0.7, "*": 0.1})
    with rated:
        rates = {s.name.split(".")[-3]: s.rate for s in dropkit.find_sites(model, x)}
        assert {"q": 0.7, "v": 0.1} == rates
    change.undo()
    assert all(type(m) is nn.Dropout for m in model.modules() if isinstance(m, nn.Dropout))
