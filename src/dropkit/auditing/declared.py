"""Which modules say that they are meant to drop in use, too."""

import re

from torch import nn

from dropkit.auditing.observations import Observations

#: Set to True on a module, a class, or anything around it.
ATTRIBUTE = "dropkit_always_on"
_ANNOUNCED = re.compile(r"mc_?drop|monte_?carlo|always_?on|bayesian_?drop", re.IGNORECASE)


def is_declared(seen: Observations, module: nn.Module) -> bool:
    """Whether `module` or one around it has the attribute, or a class name that announces it."""
    return any(
        bool(getattr(one, ATTRIBUTE, False)) or _ANNOUNCED.search(type(one).__name__) is not None
        for one in seen.ancestors(module)
    )
