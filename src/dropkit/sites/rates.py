"""Set the drop rates of a model, and put them back."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from dropkit.core.rate import threshold_from_rate
from dropkit.nn._layer import Layer
from dropkit.nn.schedules import Schedule
from dropkit.sites.configs import config_fields, write_rates
from dropkit.sites.held import Hold
from dropkit.sites.patterns import check_patterns, first_match, possible_calls
from dropkit.sites.presets import preset_rates
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.scheduled import ScheduledRates, ScheduledSite
from dropkit.sites.sources import Source, find_sources
from dropkit.sites.steering import RateSteer

#: One rate for all sites, or a rate for each glob pattern of site names.
Rates = float | Mapping[str, float]
#: Likewise, where some follow schedules.
Scheduled = Schedule | Mapping[str, float | Schedule]


def set_rates(model: nn.Module, rates: Rates | str | Scheduled) -> ScheduledRates:
    """Set the drop rates of a model, wherever they are kept.

    Rates that modules keep are set there, and in the config that the model was built from, so that
    ``save_pretrained`` carries them; schedules leave the config alone. Rates that stand in the
    code are replaced as they are called: a copy or a pickle of the model does not have these. Where
    several calls are told apart by ``#2`` and so on, they count in the order in which forwards meet
    them from now on. Code that is compiled meanwhile leaves such calls to Python.

    Args:
        model: Any module. Nothing is changed where an error is raised.
        rates: A drop rate in [0, 1] for all sites; ``{pattern: rate}`` with glob patterns over
            the names that `find_sites` gives (``*`` matches dots too), of which the first that
            matches rules, and sites that none matches keep theirs; or the name of a preset:
            ``"bert"``, ``"gpt"`` or ``"finetune"``, see `dropkit.sites.presets`. In place of a
            rate may stand a `dropkit.Schedule`.

    Returns:
        A handle with ``undo()``, usable in ``with``; and, for schedules, with ``step()``,
        ``state_dict()`` and ``load_state_dict()``.

    Raises:
        RateError: A rate is outside [0, 1] or nan, or one that a layer cannot act at.
        SiteError: A pattern matches no site.
        OptionError: There is no such preset.

    Warns:
        RatesWarning: A field of the model's config cannot carry the rates of its sites, or the
            model cannot be built from its config, so that nothing tells which sites it rules.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    >>> with set_rates(model, {"1": 0.1}):
    ...     model[1].p
    0.1
    >>> model[1].p
    0.3
    >>> handle = set_rates(model, dropkit.Schedule.linear(0.0, 0.5, steps=2))
    >>> handle.step()
    >>> model[1].p
    0.25
    """
    sources = [source for source in find_sources(model) if source.is_settable]
    by_pattern = _by_pattern(rates, sources)
    for pattern, rate in by_pattern.items():
        if not isinstance(rate, Schedule):
            threshold_from_rate(rate, name="rates", site=pattern)
    calls = possible_calls(model)
    if isinstance(rates, Mapping):
        check_patterns(by_pattern, sources, [name for _, name in calls], argument="rates")
    schedules = {key: rate for key, rate in by_pattern.items() if isinstance(rate, Schedule)}
    plain = {key: rate for key, rate in by_pattern.items() if not isinstance(rate, Schedule)}
    now = {key: float(plain.get(key, 0.0)) for key in by_pattern}
    ruled: dict[str, list[Source]] = {key: [] for key in by_pattern}
    for source in sources:
        own = first_match({key: key for key in by_pattern}, source.name)
        if own is not None:
            ruled[own].append(source)
            if isinstance(source.module, Layer):
                source.module.threshold_of(now[own])  # some layers cannot act at every rate
    steps = contextlib.ExitStack()
    fields = config_fields(model)
    holds = {key: [source.set(now[key], steps) for source in found] for key, found in ruled.items()}
    scheduled = {source.name for key in schedules for source in ruled[key]}
    write_rates(fields, {s.name: s.rate for s in sources if s.name not in scheduled}, steps)
    if _has_rates_in_its_code(calls, sources):
        is_one = "*" in by_pattern and all(one == by_pattern["*"] for one in by_pattern.values())
        the_one = (lambda: now["*"]) if is_one else None
        steer = RateSteer(model, lambda name: first_match(now, name), the_one)
        steps.enter_context(ReplacedFunctions(model, steer))
    return ScheduledRates(
        [
            ScheduledSite(key, schedule, _setter(key, holds[key], now))
            for key, schedule in schedules.items()
        ],
        steps,
    )


def _setter(pattern: str, holds: Sequence[Hold], now: dict[str, float]) -> Callable[[float], None]:
    def set_rate(rate: float) -> None:
        now[pattern] = rate
        for one in holds:
            one.set(rate)

    return set_rate


def _by_pattern(
    rates: Rates | str | Scheduled, sources: list[Source]
) -> Mapping[str, float | Schedule]:
    if isinstance(rates, str):
        return preset_rates(rates, sources)
    return rates if isinstance(rates, Mapping) else {"*": rates}


def _has_rates_in_its_code(calls: list[tuple[nn.Module, str]], sources: list[Source]) -> bool:
    """Whether any module that calls a function that drops is not itself a site."""
    whole = {source.module for source in sources if source.is_whole}
    return any(module not in whole for module, _ in calls)
