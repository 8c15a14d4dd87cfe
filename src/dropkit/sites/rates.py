"""Set the drop rates of a model, and put them back."""

import contextlib
from collections.abc import Mapping

from torch import nn

from dropkit.core.rate import threshold_from_rate
from dropkit.nn._layer import Layer
from dropkit.sites.change import Change
from dropkit.sites.configs import config_fields, write_rates
from dropkit.sites.patterns import check_patterns, first_match, possible_calls
from dropkit.sites.presets import preset_rates
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.sources import Source, find_sources
from dropkit.sites.steering import RateSteer

#: One rate for all sites, or a rate for each glob pattern of site names.
Rates = float | Mapping[str, float]


def set_rates(model: nn.Module, rates: Rates | str) -> Change:
    """Set the drop rates of a model, wherever they are kept.

    Rates that modules keep are set there, and in the config that the model was built from, so that
    ``save_pretrained`` carries them. Rates that stand in the code are replaced as they are called:
    a copy or a pickle of the model does not have these. Where several calls are told apart by
    ``#2`` and so on, they count in the order in which forwards meet them from now on. Code that is
    compiled meanwhile leaves such calls to Python, unless all sites get one rate.

    Args:
        model: Any module. Nothing is changed where an error is raised.
        rates: A drop rate in [0, 1] for all sites; ``{pattern: rate}`` with glob patterns over
            the names that `find_sites` gives (``*`` matches dots too), of which the first that
            matches rules, and sites that none matches keep theirs; or the name of a preset:
            ``"bert"``, ``"gpt"`` or ``"finetune"``, see `dropkit.sites.presets`.

    Returns:
        A handle with ``undo()``, usable in ``with``.

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
    """
    sources = [source for source in find_sources(model) if source.is_settable]
    given = _by_pattern(rates, sources)
    for pattern, one in given.items():
        threshold_from_rate(one, name="rates", site=pattern)
    by_pattern = {pattern: float(one) for pattern, one in given.items()}
    calls = possible_calls(model)
    if isinstance(rates, Mapping):
        check_patterns(by_pattern, sources, [name for _, name in calls], argument="rates")
    wanted = {source: first_match(by_pattern, source.name) for source in sources}
    for source, rate in wanted.items():
        if rate is not None and isinstance(source.module, Layer):
            source.module.threshold_of(rate)  # some layers cannot act at every rate
    steps = contextlib.ExitStack()
    fields = config_fields(model)
    for source, rate in wanted.items():
        if rate is not None:
            source.set(rate, steps)
    write_rates(fields, {source.name: source.rate for source in sources}, steps)
    if _has_rates_in_its_code(calls, sources):
        is_one = "*" in by_pattern and len(set(by_pattern.values())) == 1
        everywhere = by_pattern["*"] if is_one else None
        steer = RateSteer(model, lambda name: first_match(by_pattern, name), everywhere)
        steps.enter_context(ReplacedFunctions(model, steer))
    return Change(steps)


def _by_pattern(rates: Rates | str, sources: list[Source]) -> Mapping[str, float]:
    if isinstance(rates, str):
        return preset_rates(rates, sources)
    return rates if isinstance(rates, Mapping) else {"*": rates}


def _has_rates_in_its_code(calls: list[tuple[nn.Module, str]], sources: list[Source]) -> bool:
    """Whether any module that calls a function that drops is not itself a site."""
    whole = {source.module for source in sources if source.is_whole}
    return any(module not in whole for module, _ in calls)
