"""Set the drop rates of a model, and put them back."""

import contextlib
import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase

from torch import nn

from dropkit.core.rate import threshold_from_rate
from dropkit.errors import SiteError
from dropkit.sites.change import Change
from dropkit.sites.find import dropout_modules

#: One rate for all sites, or a rate for each glob pattern of site names; the first match rules.
Rates = float | Mapping[str, float]


def set_rates(model: nn.Module, rates: Rates) -> Change:
    """Set the drop rates of the sites that `find_sites` lists; other sites keep theirs.

    Args:
        model: Any module. Nothing is changed where an error is raised.
        rates: A drop rate in [0, 1] for all sites, or ``{pattern: rate}`` with glob patterns
            over site names (``*`` matches dots too). The first pattern that matches a site rules.

    Returns:
        A handle with ``undo()``, usable in ``with``.

    Raises:
        RateError: A rate is outside [0, 1] or nan.
        SiteError: A pattern matches no site.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    >>> with set_rates(model, {"1": 0.1}):
    ...     model[1].p
    0.1
    >>> model[1].p
    0.3
    """
    by_pattern = rates if isinstance(rates, Mapping) else {"*": rates}
    for pattern, rate in by_pattern.items():
        threshold_from_rate(rate, name="rates", site=pattern)
    sites = list(dropout_modules(model))
    if isinstance(rates, Mapping):
        _check_patterns(by_pattern, [name for name, _ in sites])
    steps = contextlib.ExitStack()
    for name, module in sites:
        for pattern, rate in by_pattern.items():
            if fnmatchcase(name, pattern):
                steps.callback(setattr, module, "p", module.p)
                module.p = float(rate)
                break
    return Change(steps)


def _check_patterns(patterns: Mapping[str, float], names: list[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
            message = f"`rates` must name sites of the model; no site matches {pattern!r}."
            if near:
                message += f" Near names: {', '.join(map(repr, near))}."
            elif names:
                message += f" The first of {len(names)} sites is {names[0]!r}."
            else:
                message += " The model has no dropout module."
            raise SiteError(message)
