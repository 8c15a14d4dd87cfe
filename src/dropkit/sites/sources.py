"""Where a model keeps its drop rates: attributes of its modules."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropkit.core.scope import site_name
from dropkit.sites.held import Hold, hold

#: Modules of torch that drop, and do other things too.
_ALSO = (nn.MultiheadAttention, nn.RNNBase)
_DROPPERS = re.compile(r"drop|stochastic_?depth", re.IGNORECASE)  # class names
_THEIR_RATES = ("p", "prob", "drop_prob", "drop_rate", "rate")
_A_RATE = re.compile(
    r"(drop|dropout|drop_?path|layer_?drop|pdrop|(^|_)p|prob|rate)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Source:
    """A rate that a module keeps.

    Attributes:
        name: Of the site that it rules: the module's where the module is there to drop, else the
            module's and the attribute's.
        module: Which keeps it.
        attribute: Under this name.
        kind: Name of the module's class, ``"LayerDrop"``, or ``"rate"`` where only a run can tell
            what the rate is for.
        is_whole: Whether the module is there to drop: all its calls are one site.
    """

    name: str
    module: nn.Module
    attribute: str
    kind: str
    is_whole: bool = False

    @property
    def rate(self) -> float:
        """As it is now; a None that stands for no dropout is 0."""
        return float(getattr(self.module, self.attribute) or 0.0)

    @property
    def is_settable(self) -> bool:
        """Whether the rate can be written; one that a module learns cannot."""
        own = getattr(type(self.module), self.attribute, None)
        return not isinstance(own, property) or own.fset is not None

    def set(self, rate: float, steps: contextlib.ExitStack) -> Hold:
        """Let the module keep this rate; `steps` gets what takes it back, see `hold`."""
        return hold(self.module, self.attribute, rate, steps)

    @property
    def acts(self) -> bool:
        """Whether the module would use the rate: a recurrent layer drops between its layers only."""
        return not isinstance(self.module, nn.RNNBase) or self.module.num_layers > 1


def find_sources(model: nn.Module) -> list[Source]:
    """Every rate that a module of `model` keeps, in the order modules are registered, each once."""
    return [
        source
        for path, module in model.named_modules()
        for source in sources_of(site_name(path), module)
    ]


def sources_of(name: str, module: nn.Module) -> Iterator[Source]:
    """The rates that one module keeps itself; `name` is its site name."""
    kind = type(module).__name__
    if isinstance(module, _DropoutNd):
        yield Source(name, module, "p", kind, is_whole=True)
    elif isinstance(module, _ALSO):
        yield Source(name, module, "dropout", kind, is_whole=True)
    else:
        is_dropper = _DROPPERS.search(kind) is not None
        found = [key for key, value in vars(module).items() if _is_rate(key, value, is_dropper)]
        if is_dropper and not found and is_number(getattr(module, "p", None)):
            found = ["p"]  # a property
        for key in found:
            skips_layers = "layerdrop" in key.replace("_", "").lower()
            if is_dropper and len(found) == 1 and not skips_layers:
                yield Source(name, module, key, kind, is_whole=True)
            else:
                what = "LayerDrop" if skips_layers else "rate"
                yield Source(f"{name}.{key}".lstrip("."), module, key, what)


def _is_rate(key: str, value: Any, is_dropper: bool) -> bool:
    if key.startswith("_"):
        return False
    if is_dropper and key in _THEIR_RATES:
        return value is None or is_number(value)
    has_the_name = "drop" in key.lower()
    # 0 and 1 may be counts
    return (
        has_the_name
        and is_number(value)
        and (isinstance(value, float) or _A_RATE.search(key) is not None)
    )


def is_number(value: Any) -> bool:
    """Whether `value` could be a drop rate."""
    is_one = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    return is_one and 0.0 <= float(value) <= 1.0
