"""The same model, with dropout on dropkit's core."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit import functional
from dropkit.core.binding import CODES
from dropkit.core.counted import Counted
from dropkit.core.recompute import Replay, wrapped_checkpoints
from dropkit.nn import Dropout
from dropkit.sites.change import Change

_dropout = F.dropout
_attention = F.scaled_dot_product_attention


def accelerate(model: nn.Module | None = None) -> Change:
    """Let dropout in `model` run on dropkit's core: modules, ``F.dropout`` and attention.

    Parameters, state dict, modes and repr stay as they are, and so do outputs in eval, to the
    bit. In training the masks are other ones of the same distribution.

    Args:
        model: Any module. ``nn.Dropout`` in it, but not a user's own subclass of it, becomes
            `dropkit.nn.Dropout`; while its forward runs, and when a checkpoint in it is
            recomputed, ``F.dropout`` and ``F.scaled_dot_product_attention`` are dropkit's. None
            does the latter for the whole process.

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
    stack.enter_context(_replaced_functions)
    if model is None:
        stack.enter_context(_everywhere)
        return Change(stack)
    for module in model.modules():
        if type(module) is nn.Dropout:
            Dropout.adopt(module)
            stack.callback(Dropout.release, module)
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


class _ReplacedFunctions(Counted):
    def begin(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(wrapped_checkpoints(_replay_inside))
        for name, ours, theirs in (
            ("dropout", _fast_dropout, _dropout),
            ("scaled_dot_product_attention", _fast_attention, _attention),
        ):
            setattr(F, name, ours)
            stack.callback(setattr, F, name, theirs)


_replaced_functions = _ReplacedFunctions()
_everywhere = Counted()


def _is_ours(x: Tensor, p: float) -> bool:
    # Compiled code is traced inside an accelerated model, or all of the process is accelerated.
    return (
        (torch.compiler.is_compiling() or _everywhere.count > 0 or _depth.value > 0)
        and 0.0 < p <= 1.0
        and x.dtype in CODES
        and not torch.overrides.has_torch_function_unary(x)
    )


def _fast_dropout(
    input: Tensor,  # noqa: A002 - torch's own name
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    if training and _is_ours(input, p):
        return functional.dropout(input, p, True, inplace)
    return _dropout(input, p, training, inplace)


def _fast_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    attention: Callable[..., Tensor] = _attention
    if _is_ours(query, dropout_p):
        attention = functional.scaled_dot_product_attention
    return attention(query, key, value, attn_mask, dropout_p, *args, **kwargs)
