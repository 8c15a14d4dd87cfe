"""Hooks on the modules of a model for the time of one run."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_pre_hook

from dropkit.auditing.drops import Moments
from dropkit.auditing.traced import Stranger, Traced
from dropkit.sites.caller import find_caller
from dropkit.sites.watch import hookable


@contextlib.contextmanager
def followed(model: nn.Module, stack: list[nn.Module], result: Traced) -> Iterator[None]:
    """Keep `stack`, the modules whose forward is running, and look at what batch norms are given."""

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        stack.append(module)
        if module.training:
            result.called_in_training.add(module)
        if isinstance(module, _BatchNorm) and args:
            x = args[0]
            if isinstance(x, Tensor) and x.dim() > 1:
                result.moments.setdefault(module, []).append(Moments.of(x))

    def leave(module: nn.Module, *_: Any) -> None:
        while stack and stack.pop() is not module:
            pass

    handles: list[Any] = []
    try:
        for module in hookable(model):
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def strangers(model: nn.Module, result: Traced) -> Iterator[None]:
    """Note each dropout module that the model calls and does not own."""
    modules = set(model.modules())

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        del args
        if not isinstance(module, _DropoutNd) or module in modules:
            return
        caller = find_caller(modules)
        if caller is not None:
            kind, rate = type(module).__name__, float(module.p)
            stranger = Stranger(kind, rate, caller, module.training)
            if stranger not in result.strangers:
                result.strangers.append(stranger)

    handle = register_module_forward_pre_hook(enter)
    try:
        yield
    finally:
        handle.remove()
