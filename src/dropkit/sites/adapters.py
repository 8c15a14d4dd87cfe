"""Dropout in front of an adapter, without the copy of its input that backward would keep.

PEFT's adapters compute ``lora_B(lora_A(dropout(x)))``, and autograd keeps ``dropout(x)`` for the
gradient of ``lora_A``: a copy of `x` for each adapter that reads it. Here it keeps `x`, which is
there anyway, and the numbers of the mask; backward draws the mask again.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core import route
from dropkit.core.place import Place
from dropkit.nn import Dropout

_top_hooks = torch._C._autograd._top_saved_tensors_default_hooks  # noqa: SLF001 - no public name

_Mask = tuple[int, int, int, bool, Place | None]


def spare_copies(model: nn.Module, stack: contextlib.ExitStack) -> None:
    """Let adapters in `model` keep no copy, until `stack` is closed.

    Args:
        model: Its own dropout is dropkit's already. Adapters are modules with ``lora_dropout`` and
            ``lora_A``, by name of adapter.
        stack: Undoes it.
    """
    for dropout, linear in _adapters(model):
        dropout.__class__ = _Remembering
        stack.callback(setattr, dropout, "__class__", Dropout)
        keep = _Keep(dropout)
        stack.callback(linear.register_forward_pre_hook(keep.enter).remove)
        stack.callback(linear.register_forward_hook(keep.leave, always_call=True).remove)


def _adapters(model: nn.Module) -> Iterator[tuple[Dropout, nn.Module]]:
    for module in model.modules():
        dropouts, linears = getattr(module, "lora_dropout", None), getattr(module, "lora_A", None)
        if isinstance(dropouts, nn.ModuleDict) and isinstance(linears, nn.ModuleDict):
            for name in dropouts.keys() & linears.keys():
                dropout = dropouts[name]
                if isinstance(dropout, Dropout) and type(dropout) is Dropout:
                    yield dropout, linears[name]


@dataclass
class _Drawn:
    """What a dropout layer did last: its input, its output and the mask between them."""

    x: Tensor
    out: Tensor
    mask: _Mask


class _Remembering(Dropout):
    """The layer itself, which remembers its last call until the adapter has read the result."""

    last: _Drawn | None = None

    def _get_name(self) -> str:
        return "Dropout"

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        if not self._can_remember(input):
            return super().forward(input)
        threshold = self.threshold
        key, stream, place = route.eager_mask(input.shape, None, self)
        mask = (key, stream, threshold, True, place)
        out = route.masked(input, mask)
        vars(self)["last"] = _Drawn(input, out, mask)
        return out

    def _can_remember(self, x: Tensor) -> bool:
        return (
            self.training
            and not torch.compiler.is_compiling()
            and torch.is_grad_enabled()
            and route.is_plain(x)
            and not self.inplace
            and self.mode == "inverted"
            and self.noise_shape is None
            and 0 < self.threshold < 65536
            and _top_hooks(True) is None  # a checkpoint, say, which keeps nothing itself
        )


# What tells a site's kind, and what is printed, stays as it is.
_Remembering.__name__ = _Remembering.__qualname__ = "Dropout"


class _Keep:
    """Around a linear layer: keeps, in place of its dropped input, what that is made of."""

    def __init__(self, dropout: nn.Module) -> None:
        self._dropout = dropout
        self._open = contextlib.ExitStack()

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """The layer is about to read."""
        del module
        last = vars(self._dropout).pop("last", None)
        if last is not None and args and args[0] is last.out:
            self._open.enter_context(_hooks(last))

    def leave(self, *_: Any) -> None:
        """It has read."""
        self._open.close()


class _Redrawn:
    """A tensor that is made again when it is needed."""

    def __init__(self, drawn: _Drawn, shape: torch.Size) -> None:
        self._x, self._mask, self._shape = drawn.x, drawn.mask, shape
        self._version = drawn.x._version  # noqa: SLF001 - as autograd keeps it

    def __call__(self) -> Tensor:
        if self._x._version != self._version:  # noqa: SLF001 - likewise
            raise RuntimeError(
                "the input of an adapter was changed in place before its gradient was computed, "
                "so that its mask can no longer be drawn on it. Change a copy, or undo accelerate."
            )
        return route.masked(self._x, self._mask).view(self._shape)


def _hooks(last: _Drawn) -> Any:
    place, size = last.out.data_ptr(), last.out.numel()

    def pack(saved: Tensor) -> Any:
        is_it = (
            saved.data_ptr() == place and saved.numel() == size and saved.is_contiguous() and size
        )
        return _Redrawn(last, saved.shape) if is_it else saved

    def unpack(kept: Any) -> Tensor:
        found: Tensor = kept() if isinstance(kept, _Redrawn) else kept
        return found

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
