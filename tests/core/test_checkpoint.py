"""Activation checkpointing recomputes with the masks of its forward, by both of torch's kinds."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint as torch_checkpoint
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dropkit
from dropkit import masks_at

Call = Callable[..., Tensor]

kinds = pytest.mark.parametrize("use_reentrant", [True, False], ids=["reentrant", "hooks"])
preserves = pytest.mark.parametrize("preserve", [True, False], ids=["preserve", "no preserve"])
backwards = pytest.mark.parametrize("inside", [True, False], ids=["inside", "after the block"])


class Net(nn.Module):
    """Three blocks of linear, dropout, tanh, dropout; the middle one is called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(6, 6), dropkit.nn.Dropout(0.5), nn.Tanh(), dropkit.nn.Dropout(0.2)
            )
            for _ in range(3)
        )

    def forward(self, x: Tensor, call: Call) -> Tensor:
        """Go through the blocks; `call` may checkpoint them, and does for all but the last call."""
        first, middle, last = self.blocks
        x = call(middle, call(first, x))
        x = call(middle, x) + dropkit.functional.dropout(x, 0.5)
        return middle(last(x))


class Nested(Net):
    """The same blocks, with a checkpoint in a checkpoint and dropout around the inner one."""

    def forward(self, x: Tensor, call: Call) -> Tensor:
        """Call the outer part, which calls the inner one."""
        first, middle, last = self.blocks

        def inner(x: Tensor) -> Tensor:
            return middle(last(x)).sin()

        def outer(x: Tensor) -> Tensor:
            return last(call(inner, first(x))).sin()

        return first(call(outer, last(x)))


def _plain(function: Call, *args: Any) -> Tensor:
    return function(*args)


def _checkpointed(use_reentrant: bool, preserve: bool) -> Call:
    def call(function: Call, *args: Any) -> Tensor:
        return checkpoint(function, *args, use_reentrant=use_reentrant, preserve_rng_state=preserve)

    return call


def _results(
    net: Net, call: Call, *, inside: bool = True, block: Any = None, around: Any = None
) -> list[Any]:
    """Output, gradients, and one more mask drawn where the block goes on after backward."""
    torch.manual_seed(1)
    net.zero_grad(set_to_none=True)
    x = torch.linspace(-1, 1, 24).reshape(4, 6).requires_grad_()
    later = []
    with masks_at(seed=3, step=4) if block is None else block:
        y = net(x, call)
        if inside:
            y.sum().backward()
            later = dropkit.functional.dropout(torch.ones(48), 0.5).tolist()
    if not inside:
        with around or contextlib.nullcontext():
            y.sum().backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert x.grad is not None
    return [y.tolist(), x.grad.tolist(), [grad.tolist() for grad in gradients], later]


@kinds
@preserves
@backwards
def test_named(use_reentrant: bool, preserve: bool, inside: bool) -> None:
    """Outputs and gradients are those without checkpointing, bit for bit."""
    expected = _results(Net(), _plain, inside=inside)
    assert expected == _results(Net(), _checkpointed(use_reentrant, preserve), inside=inside)


@preserves
@backwards
def test_nested(preserve: bool, inside: bool) -> None:
    """A checkpoint in a checkpoint is right too, where torch has them: without reentrance."""
    expected = _results(Nested(), _plain, inside=inside)
    assert expected == _results(Nested(), _checkpointed(False, preserve), inside=inside)


@kinds
def test_backward_inside_another_block(use_reentrant: bool) -> None:
    """What is recomputed inside another block draws the masks of its own."""
    expected = _results(Net(), _plain, inside=False)
    call, other = _checkpointed(use_reentrant, False), masks_at(seed=99)
    assert expected == _results(Net(), call, inside=False, around=other)


@kinds
def test_rows(use_reentrant: bool) -> None:
    """Rows are remembered like names."""
    expected = _results(Net(), _plain, block=masks_at(seed=3, rows=[9, 4, 0, 5]))
    block = masks_at(seed=3, rows=[9, 4, 0, 5])
    assert expected == _results(Net(), _checkpointed(use_reentrant, False), block=block)


@kinds
def test_ambient(use_reentrant: bool) -> None:
    """Without a block torch's own preserved state serves."""
    expected = _results(Net(), _plain, block=contextlib.nullcontext(), inside=False)
    call = _checkpointed(use_reentrant, True)
    assert expected == _results(Net(), call, block=contextlib.nullcontext(), inside=False)


@kinds
def test_the_comparison_can_fail(use_reentrant: bool) -> None:
    """Ambient masks whose state torch was told not to preserve give other gradients."""
    expected = _results(Net(), _plain, block=contextlib.nullcontext(), inside=False)
    call = _checkpointed(use_reentrant, False)
    wrong = _results(Net(), call, block=contextlib.nullcontext(), inside=False)
    assert expected[0] == wrong[0]
    assert expected[1] != wrong[1]


def test_without_early_stop() -> None:
    """A recomputation that runs to its end is right too."""
    expected = _results(Net(), _plain)
    with torch_checkpoint.set_checkpoint_early_stop(False):
        assert expected == _results(Net(), _checkpointed(False, False))


def test_without_gradients() -> None:
    """Checkpointing that has nothing to recompute draws the same masks."""
    x = torch.linspace(-1, 1, 24).reshape(4, 6)
    outs = []
    for call in (_plain, _checkpointed(False, False)):
        with torch.no_grad(), masks_at(seed=3):
            outs.append([Net()(x, call).tolist(), Net()(x, call).tolist()])
    assert outs[0] == outs[1]


def test_backward_twice() -> None:
    """A graph that is kept is recomputed twice, with the same masks."""
    x = torch.linspace(-1, 1, 24).reshape(4, 6).requires_grad_()
    with masks_at(seed=3):
        y = Net()(x, _checkpointed(False, False)).sum()
    (first,) = torch.autograd.grad(y, x, retain_graph=True)
    (second,) = torch.autograd.grad(y, x)
    with masks_at(seed=3):
        (expected,) = torch.autograd.grad(Net()(x, _plain).sum(), x)
    assert [expected.tolist()] * 2 == [first.tolist(), second.tolist()]


def test_gradient_accumulation() -> None:
    """Micro-batches in blocks of their own, all backward at the end, are the whole batch."""
    dropout = dropkit.nn.Dropout(0.5)
    x = torch.linspace(-1, 1, 60).reshape(6, 10).requires_grad_()
    with masks_at(seed=3):
        (expected,) = torch.autograd.grad(dropout(x).sin().sum(), x)
    total = torch.zeros(())
    for first in (0, 2, 4):
        with masks_at(seed=3, rows=first):
            out = checkpoint(lambda x: dropout(x).sin(), x[first : first + 2], use_reentrant=False)
            total = total + out.sum()
    (drawn,) = torch.autograd.grad(total, x)
    assert expected.tolist() == drawn.tolist()
