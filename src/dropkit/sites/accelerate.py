"""The same model, with dropout on dropkit's core."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropkit.core.counted import Counted
from dropkit.core.recompute import Replay, wrapped_checkpoints
from dropkit.nn._layer import Layer
from dropkit.sites.adapters import adopt_adapters
from dropkit.sites.change import Change
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.stand_ins import register_stand_ins


def accelerate(model: nn.Module | None = None) -> Change:
    """Let dropout in `model` run on dropkit's core, wherever it is.

    Modules, functions, attention, what recurrent layers drop between their layers, and masks made
    with ``torch.bernoulli``. Parameters, state dict, modes and repr stay as they are, and so do
    outputs in eval, to the bit. In training the masks are other ones of the same distribution.
    PEFT's LoRA layers keep no copy of their input, as `dropkit.functional.dropout_linear`.

    Args:
        model: Any module. Torch's own dropout layers in it, but not a user's subclasses of them,
            become dropkit's; while its forward runs, and when a checkpoint in it is recomputed,
            the functions that drop are dropkit's. None does the latter for the whole process.

    Returns:
        A handle with ``undo()``, usable in ``with``.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    >>> with accelerate(model):
    ...     print(type(model[1]).__module__.split(".")[0], model[1])
    dropkit Dropout(p=0.3, inplace=False)
    >>> type(model[1]) is nn.Dropout
    True
    """
    stack = contextlib.ExitStack()
    stack.enter_context(_anywhere)
    stack.enter_context(_checkpoints)
    stack.enter_context(ReplacedFunctions(model))
    if model is None:
        stack.enter_context(_everywhere)
        return Change(stack)
    adopt_adapters(model, stack)
    for module in model.modules():
        if isinstance(module, _DropoutNd) and type(module) in Layer.of_torchs:
            ours = Layer.of_torchs[type(module)]
            ours.adopt(module)
            stack.callback(ours.release, module)
    stack.callback(model.register_forward_pre_hook(_enter, prepend=True).remove)
    stack.callback(model.register_forward_hook(_leave, always_call=True).remove)
    return Change(stack)


class _Depth(threading.local):
    """How many accelerated forwards this thread is in."""

    value = 0


_depth = _Depth()


def _enter(*_: Any) -> None:
    if not torch.compiler.is_compiling():
        _depth.value += 1


def _leave(*_: Any) -> None:
    if not torch.compiler.is_compiling():
        _depth.value -= 1


def _replay_inside() -> Replay | None:
    return _inside if _depth.value else None


@contextlib.contextmanager
def _inside() -> Iterator[None]:
    _depth.value += 1
    try:
        yield
    finally:
        _depth.value -= 1


class _Checkpoints(Counted):
    def begin(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(wrapped_checkpoints(_replay_inside))


class _Anywhere(Counted):
    """Whether anything is accelerated: a flag, for a graph that asked is guarded on the answer."""

    is_open = False

    def begin(self, stack: contextlib.ExitStack) -> None:
        self.is_open = True
        stack.callback(setattr, self, "is_open", False)


_anywhere = _Anywhere()
_checkpoints = _Checkpoints()
_everywhere = Counted()


def _is_inside() -> bool:
    # Code that is compiled, or exported, while nothing is accelerated keeps torch's functions.
    if torch.compiler.is_compiling():
        return _anywhere.is_open
    return _everywhere.count > 0 or _depth.value > 0


register_stand_ins(_is_inside)
