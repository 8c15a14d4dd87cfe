"""PEFT's LoRA layers on dropkit's core: no copy of an adapter's input is kept.

PEFT computes ``lora_B(lora_A(lora_dropout(x)))``. Where nobody looks at what stands between, the
dropout hands on `x` itself with the mask that it drew, and the linear map behind it drops and
multiplies at once. The layer goes on being the site: it draws its mask, at its rate, in its mode.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _globals

from dropkit.core import linear, route
from dropkit.core.binding import CODES
from dropkit.core.rate import STEPS
from dropkit.errors import CoreError
from dropkit.nn._dropout import Dropout


class _Waiting(threading.local):
    """What was handed on in this thread and not dropped yet."""

    value: tuple[Tensor, linear.Mask] | None = None


_waiting = _Waiting()


class LoraDropout(Dropout):
    """A `Dropout` that leaves the dropping to the `LoraA` that is called next."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Hand on `input` with a mask, or drop it where only that will do."""
        if torch.compiler.is_compiling():
            return super().forward(input)
        _waiting.value = None  # an error may have come between
        may_wait = self.training and linear.can_record(input) and input.dtype in CODES
        threshold = self.threshold
        if not may_wait or not 0 < threshold < STEPS or _is_watched(self):
            return super().forward(input)
        key, stream, place = route.eager_mask(input.shape, None, self)
        _waiting.value = input, (key, stream, threshold, True, place)
        return input


class LoraA(nn.Linear):
    """The linear map behind it."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop what is still to be dropped, and multiply."""
        if torch.compiler.is_compiling():
            return super().forward(input)
        waiting, _waiting.value = _waiting.value, None
        if waiting is None or waiting[0] is not input:
            return super().forward(input)
        return linear.recorded(input, self.weight, self.bias, waiting[1])


# They are found, shown and counted as what they are; pickles know them by their qualified names.
LoraDropout.__name__, LoraA.__name__ = "Dropout", "Linear"


def adopt_adapters(model: nn.Module, steps: contextlib.ExitStack) -> None:
    """Let PEFT's LoRA layers in `model` keep nothing for their dropout; `steps` takes it back."""
    for layer, adapter in _adapters(model):
        drop, first = layer.lora_dropout[adapter], layer.lora_A[adapter]
        if type(drop) is nn.Dropout:
            LoraDropout.adopt(drop)
            steps.callback(LoraDropout.release, drop)
        elif type(drop) is Dropout and (drop.mode, drop.noise_shape) == ("inverted", None):
            drop.__class__ = LoraDropout
            steps.callback(setattr, drop, "__class__", Dropout)
        else:
            continue
        first.__class__ = LoraA
        steps.callback(setattr, first, "__class__", nn.Linear)
        steps.callback(layer.register_forward_hook(_check_none_waits).remove)


def _adapters(model: nn.Module) -> Iterator[tuple[Any, str]]:
    """Each plain LoRA layer with the name of an adapter in it; PEFT is not imported for it."""
    lora = sys.modules.get("peft.tuners.lora.layer")
    if lora is None:
        return
    layers: Iterator[Any] = (module for module in model.modules() if type(module) is lora.Linear)
    for layer in layers:
        for adapter, first in layer.lora_A.items():
            is_vanilla = adapter not in getattr(layer, "lora_variant", {})
            if is_vanilla and type(first) is nn.Linear and adapter in layer.lora_dropout:
                yield layer, adapter


def _is_watched(module: nn.Module) -> bool:
    """Whether a hook would see what the layer gives."""
    return bool(
        module._forward_hooks  # noqa: SLF001 - nothing else lists them
        or _globals._global_forward_hooks  # noqa: SLF001 - likewise
    )


def _check_none_waits(layer: nn.Module, *_: Any) -> None:
    """Behind a LoRA layer, what was handed on must have been dropped."""
    if not torch.compiler.is_compiling() and _waiting.value is not None:
        _waiting.value = None
        raise CoreError(
            f"{type(layer).__module__}.{type(layer).__name__} must call its lora_A on what its "
            "lora_dropout gives; it did not. Undo dropkit.accelerate for this version of peft."
        )
