"""An arm's rates in a model, schedules too."""

import contextlib
from collections.abc import Mapping

from torch import nn

from dropkit.errors import SiteError
from dropkit.nn.schedules import Schedule
from dropkit.sites.change import Change
from dropkit.sites.patterns import first_match
from dropkit.sites.rates import set_rates
from dropkit.sites.scheduled import ScheduledRates, ScheduledSite
from dropkit.sites.sources import Source, find_sources
from dropkit.studies.plan import ArmRates


def apply_rates(model: nn.Module, rates: ArmRates) -> Change:
    """Give `model` these rates; where schedules are among them, they stand at step 0.

    Returns:
        A handle with ``undo()``; a `ScheduledRates` where there are schedules.

    Raises:
        SiteError: A pattern matches no site, or no module keeps the rate that a schedule is for.
    """
    if isinstance(rates, str | float | int):
        return set_rates(model, rates)
    by_pattern = rates if isinstance(rates, Mapping) else {"*": rates}
    at_first = {p: r(0) if isinstance(r, Schedule) else r for p, r in by_pattern.items()}
    if not any(isinstance(rate, Schedule) for rate in by_pattern.values()):
        return set_rates(model, at_first)
    steps = contextlib.ExitStack()
    steps.enter_context(set_rates(model, at_first))
    found = []
    for source in find_sources(model):
        schedule = first_match(by_pattern, source.name)
        if source.is_settable and isinstance(schedule, Schedule):
            found.append(ScheduledSite(source.name, schedule, _Setter(source)))
    if not found:
        steps.close()
        raise SiteError("`rates` may be a schedule where a module keeps the rate; none does here.")
    return ScheduledRates(found, steps)


class _Setter:
    """Sets the rate of one source; what it was before is put back by the first change."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, rate: float) -> None:
        self._source.set(rate, contextlib.ExitStack())
