"""Vanilla dropout scales in eval: its factor goes into a weight beside it, or stays a factor."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from dropkit import nn as ours
from dropkit.core.rate import STEPS
from dropkit.core.scope import site_name
from dropkit.sites.watch import hookable

_WEIGHED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: What a factor passes without a rounding.
_BETWEEN = (nn.Identity, nn.Flatten, nn.Unflatten)


class Scale(nn.Module):
    """Multiply by a number: what vanilla dropout does in eval.

    Args:
        factor: The share that would be kept, in [0, 1].
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """`x` times the factor."""
        return x * self.factor

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"factor={self.factor:g}"


def without_vanilla(model: nn.Module) -> tuple[nn.Module, list[tuple[str, str]]]:
    """Replace every vanilla dropout of `model`; name of each, and where its factor went.

    A factor is folded where that changes no bit: it is a power of two, and the layer stands in a
    ``Sequential`` beside a weight that nothing else uses. Any other stays a multiplication.
    """
    if _is_vanilla(model):
        return _scale(model), [("", _kept_as(model))]
    uses = Counter(id(child) for child in _children(model))
    holders = Counter(id(p) for m in hookable(model) for p in m._parameters.values())  # noqa: SLF001 - tied ones twice

    def is_alone(module: nn.Module) -> bool:
        return (
            uses[id(module)] == 1
            and all(holders[id(p)] == 1 for p in module.parameters())
            and not (module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001 - they might look
        )

    found: list[tuple[str, str]] = []
    scales: dict[int, nn.Module] = {}
    for path, parent in list(model.named_modules()):
        if isinstance(parent, torch.jit.ScriptModule):
            continue
        names = list(parent._modules)  # noqa: SLF001 - one child may have two names
        children = [parent._modules[name] for name in names]  # noqa: SLF001 - likewise
        for at, child in enumerate(children):
            if not _is_vanilla(child):
                continue
            target = None
            if type(parent).forward is nn.Sequential.forward and uses[id(child)] == 1:
                target = _target(children, at, _factor(child), is_alone)
            if target is not None:
                _multiply(target[1], _factor(child), with_bias=target[0] < at)
                new: nn.Module = nn.Identity().train(child.training)
                how = f"folded into {_joined(path, names[target[0]])}"
            else:
                new, how = scales.setdefault(id(child), _scale(child)), _kept_as(child)
            found.append((_joined(path, names[at]), how))
            parent._modules[names[at]] = children[at] = new  # noqa: SLF001 - likewise
    return model, found


def _is_vanilla(module: nn.Module | None) -> TypeGuard[ours.Dropout]:
    return type(module) is ours.Dropout and module.mode == "vanilla"


def _factor(module: ours.Dropout) -> float:
    return (STEPS - module.threshold) / STEPS


def _scale(module: ours.Dropout) -> nn.Module:
    return Scale(_factor(module)).train(module.training)


def _kept_as(module: ours.Dropout) -> str:
    return f"kept as a multiplication by {_factor(module):g}"


def _joined(path: str, name: str) -> str:
    return site_name(f"{path}.{name}".lstrip("."))


def _children(model: nn.Module) -> Iterator[nn.Module]:
    for module in hookable(model):
        yield from (child for child in module._modules.values() if child is not None)  # noqa: SLF001 - named_children gives each once


def _target(
    children: Sequence[nn.Module | None],
    at: int,
    factor: float,
    is_alone: Callable[[nn.Module], bool],
) -> tuple[int, nn.Module] | None:
    """The weight that takes the factor, and its place: behind the dropout, or else in front."""
    if not 0.0 < factor < 1.0 or math.frexp(factor)[0] != 0.5:
        return None
    for step in (1, -1):
        place = at + step
        while 0 <= place < len(children) and type(children[place]) in _BETWEEN:
            place += step
        if 0 <= place < len(children):
            module = children[place]
            if module is not None and type(module) in _WEIGHED and is_alone(module):
                return (place, module) if _is_exact(module, factor) else None
    return None


def _is_exact(module: nn.Module, factor: float) -> bool:
    """Whether no weight is so small that a power of two costs it a bit."""
    return all(torch.equal(p * factor / factor, p) for p in module.parameters())


def _multiply(module: nn.Module, factor: float, *, with_bias: bool) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name == "weight" or with_bias:
                parameter.mul_(factor)
