"""Which modules say that they are meant to drop in use, too."""

import re

from torch import nn

from dropkit.auditing.observations import Observations
from dropkit.sites.awaken import OnlySteer
from dropkit.sites.replaced import active_steers

#: Set to True on a module, a class, or anything around it.
ATTRIBUTE = "dropkit_always_on"
_ANNOUNCED = re.compile(r"mc_?drop|monte_?carlo|always_?on|bayesian_?drop", re.IGNORECASE)


def is_declared(seen: Observations, module: nn.Module) -> bool:
    """Whether `module` or one around it says so.

    By the attribute, by a class name that announces it, or because `dropkit.awaken` holds now.
    """
    awakened = (steer for steer in active_steers() if isinstance(steer, OnlySteer))
    if any(module in steer.labels.names for steer in awakened):
        return True
    return any(declares(one) for one in seen.ancestors(module))


def declares(module: nn.Module) -> bool:
    """Whether `module` itself says so."""
    is_told = bool(getattr(module, ATTRIBUTE, False))
    return is_told or _ANNOUNCED.search(type(module).__name__) is not None
