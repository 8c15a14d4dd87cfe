"""What becomes of each layer that drops, in a model that is to be served."""

import contextlib
from collections.abc import Callable, Container, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from dropkit import nn as ours
from dropkit.core.scope import site_name
from dropkit.nn._layer import Layer
from dropkit.serving._vanilla import without_vanilla
from dropkit.sites.configs import config_fields
from dropkit.sites.sources import find_sources, sources_of
from dropkit.sites.watch import hookable

#: Layers that give back their input in eval, whatever it is: those that no run has met go too.
_PASS = {
    *Layer.of_torchs,
    *Layer.of_torchs.values(),
    ours.DropBlock2d,
    ours.DropBlock3d,
    ours.DropPath,
    ours.GaussianDropout,
    ours.LockedDropout,
    ours.StochasticDepth,
    ours.WordDropout,
}
#: Layers that in eval do nothing but call the module that they hold.
_WRAPPERS = (ours.ConcreteDropout, ours.WeightDrop)
_RATES = ("p", "prob", "drop_prob")


@dataclass(frozen=True)
class Removed:
    """A place of dropout that the served model does not have any more.

    Attributes:
        site: Name of the place, as `find_sites` has it.
        kind: Class of the layer, or ``"rate"``.
        how: ``"identity"``, ``"unwrapped"``, ``"materialized"``, ``"rate set to 0"``, or for
            vanilla scaling where the factor went.
    """

    site: str
    kind: str
    how: str

    def to_dict(self) -> dict[str, str]:
        """The attributes by name."""
        return asdict(self)


def remove_layers(
    model: nn.Module, passing: Container[nn.Module]
) -> tuple[nn.Module, list[Removed]]:
    """Replace the layers of `model` that drop; the outputs in eval stay as they are.

    Args:
        model: In eval mode; it is changed.
        passing: Layers that were seen to give back their input.

    Returns:
        `model`, or what it is now where itself was a layer that drops.
    """
    removed = [Removed(name, kind, "materialized") for name, kind in _materialize(model)]
    _drop_our_hooks(model)
    model, found = _replaced(model, _unwrapped)
    removed += found
    model, vanilla = without_vanilla(model)
    removed += [Removed(name, "Dropout", how) for name, how in vanilla]
    model, found = _replaced(model, lambda module: _identity(module, passing))
    return model, removed + found


def zero_rates(model: nn.Module, steps: contextlib.ExitStack) -> list[Removed]:
    """Set every rate that a module or the config of `model` keeps to 0; `steps` takes it back."""
    removed = []
    for field in config_fields(model):
        _set(field.config, field.name, steps)
    for source in find_sources(model):
        if source.is_settable and source.rate > 0.0:
            _set(source.module, source.attribute, steps)
            kind = source.kind if source.is_whole else "rate"
            removed.append(Removed(source.name, kind, "rate set to 0"))
    return removed


def _set(holder: Any, name: str, steps: contextlib.ExitStack) -> None:
    before = getattr(holder, name)
    try:
        setattr(holder, name, 0.0)
    except Exception:  # noqa: BLE001 - a strict config may refuse in any way, and then keeps it
        return
    steps.callback(setattr, holder, name, before)


Replaces = Callable[[nn.Module], tuple[nn.Module, str] | None]


def _replaced(model: nn.Module, replaces: Replaces) -> tuple[nn.Module, list[Removed]]:
    """Put what `replaces` gives in the place of each module, wherever that is registered."""
    instead: dict[nn.Module, nn.Module] = {}
    removed = []
    for path, module in list(model.named_modules()):
        new = replaces(module)
        if new is not None:
            instead[module] = new[0]
            removed.append(Removed(site_name(path), type(module).__name__, new[1]))
    for parent in hookable(model):  # what TorchScript has compiled stays as it is
        for name, child in parent._modules.items():  # noqa: SLF001 - one child may have two names
            if child is not None:
                parent._modules[name] = _innermost(child, instead)  # noqa: SLF001 - likewise
    return _innermost(model, instead), removed


def _innermost(module: nn.Module, instead: dict[nn.Module, nn.Module]) -> nn.Module:
    while module in instead:  # a wrapper may hold a wrapper
        module = instead[module]
    return module


def _unwrapped(module: nn.Module) -> tuple[nn.Module, str] | None:
    if type(module) not in _WRAPPERS:
        return None
    return module.get_submodule("module"), "unwrapped"


def _identity(module: nn.Module, passing: Container[nn.Module]) -> tuple[nn.Module, str] | None:
    if module not in passing and type(module) not in _PASS:
        return None
    one = nn.Identity()
    for name in (*_RATES, *(source.attribute for source in sources_of("", module))):
        if hasattr(module, name):  # models read the rate of a child and drop by themselves
            setattr(one, name, 0.0)
    return one.train(module.training), "identity"


def _materialize(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Let each parameter be the value that its parametrizations compute for it."""
    for path, module in list(model.named_modules()):
        if not parametrize.is_parametrized(module):
            continue
        lists = dict(module.get_submodule("parametrizations").named_children())
        with torch.no_grad():
            values = {name: getattr(module, name).detach().clone() for name in lists}
        # Not torch's remove_parametrizations: it strips the class, which a copy shares.
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, value in values.items():
            if value.is_floating_point():
                module.register_parameter(name, nn.Parameter(value))
            else:
                module.register_buffer(name, value)
            kinds = [type(one).__name__ for one in lists[name].children()]
            yield f"{path}.{name}".lstrip("."), ", ".join(kinds)


def _drop_our_hooks(model: nn.Module) -> None:
    """A copy of an accelerated or guarded model goes on without dropkit."""
    for module in hookable(model):
        for hooks in (module._forward_pre_hooks, module._forward_hooks):  # noqa: SLF001 - nothing else lists them
            for key, hook in list(hooks.items()):
                if type(hook).__module__.startswith("dropkit.") or str(
                    getattr(hook, "__module__", "")
                ).startswith("dropkit."):
                    del hooks[key]
