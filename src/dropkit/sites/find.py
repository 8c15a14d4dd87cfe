"""Where dropout acts in a model."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from dropkit.sites.caller import Line
from dropkit.sites.draws import UNIFORM
from dropkit.sites.labels import Labels
from dropkit.sites.marks import Marks, marked
from dropkit.sites.sources import Source, find_sources
from dropkit.sites.untouched import untouched
from dropkit.sites.watch import Event, Run, watch


@dataclass(frozen=True)
class Site:
    """One place where dropout acts.

    Attributes:
        name: Dotted path of the module from the model; for a rate that is kept elsewhere, or a
            function call, with the attribute's or function's name behind it.
        kind: The class of the module that drops, or the name of the function; ``"unnamed"`` for a
            mask made by hand of random numbers, ``"rate"`` for a rate whose use no run has shown.
        rate: Drop rate in [0, 1]; None where it cannot be seen.
        active: Whether a forward draws a mask there in the mode that the model is in.
        where: ``file:line`` of the call in the model's own code; None where there is none, or
            nothing was run.
        calls: How often a forward in training mode comes by; None where nothing was run.
        elements: How many elements are dropped or kept in such a forward; likewise.
    """

    name: str
    kind: str
    rate: float | None
    active: bool
    where: str | None = None
    calls: int | None = None
    elements: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


def find_sites(model: nn.Module, batch: Any = None) -> list[Site]:
    """List every place where dropout acts in `model`.

    Without a batch the modules are read: ``torch.nn.Dropout*`` and dropkit's layers, subclasses
    and other people's layers of that kind, ``nn.MultiheadAttention``, recurrent layers, and rates
    that modules keep as plain numbers, as in Hugging Face's. With a batch the model is also run on
    it, which shows calls of functions at rates written in the code, masks made by hand, which
    function a kept rate is for, the line of each call, and what is never called.

    A mask made by hand is seen where it is drawn with ``torch.bernoulli``, or of uniform numbers of
    torch that are compared with something. Not seen are Python's and numpy's random numbers,
    ``torch.randint``, ``randperm`` and ``multinomial``, and noise that nothing is compared with.
    What ``torch.jit`` has compiled shows as the operators that it draws with. A function that drops
    is known by torch's name for it, by a name in the files of the model's classes, and as an
    attribute of its modules, there also in a ``functools.partial``; elsewhere only its draw is seen.

    Args:
        model: Any module. It is left as it was to the bit, torch's random generators included; it
            runs uncompiled, and without gradients unless it cannot.
        batch: What the model is called with: a tensor, a tuple of arguments, or a mapping of
            names to arguments.

    Returns:
        In the order a forward meets them, and those that it does not meet behind, in the order
        they are registered; without a batch all in that order.

    Raises:
        OptionError: `batch` is of another kind.

    >>> find_sites(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)))[0].rate
    0.3
    >>> [site] = find_sites(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)), torch.ones(5, 2))
    >>> site.name, site.kind, site.active, site.calls, site.elements
    ('1', 'Dropout', True, 1, 10)
    """
    if batch is None:
        return [_unseen(source) for source in find_sources(model)]
    return look_for_sites(model, batch)[0]


#: Names of sites by the innermost module that runs, the line in the model's code and the function.
Names = dict[tuple[nn.Module, Line | None, str], str]


def look_for_sites(model: nn.Module, batch: Any) -> tuple[list[Site], Names]:
    """The sites of `model`, seen as it runs on `batch`, and what their calls can be told by."""
    sources = find_sources(model)
    with marked(sources) as marks:
        in_training = _run(model, batch, is_training=True)
        as_it_is = in_training
        if not all(module.training for module in model.modules()):
            as_it_is = _run(model, batch, is_training=False)
    places = Places(Labels(model), sources, marks)
    sites = places.sites(in_training, as_it_is)
    names = {
        (event.caller.module, event.caller.line, event.function): places.name_of(event)
        for run in (in_training, as_it_is)
        for event in run.events
    }
    return sites, names


def _run(model: nn.Module, batch: Any, *, is_training: bool) -> Run:
    def watched() -> Run:
        with untouched(model):
            if is_training:
                model.train()
            return watch(model, batch)

    try:
        with torch.no_grad():
            return watched()
    except RuntimeError:
        if not torch.is_grad_enabled():
            raise
        return watched()  # a forward may ask for gradients, of energies with respect to places say


def _unseen(source: Source) -> Site:
    active = source.module.training and source.acts and source.rate > 0.0
    return Site(source.name, source.kind, source.rate, active)


class Places:
    """Which site an event of a run belongs to.

    Args:
        labels: Of the model's sites.
        sources: All of the model's.
        marks: Of the run.
    """

    def __init__(self, labels: Labels, sources: Sequence[Source], marks: Marks) -> None:
        self._labels, self._sources, self._marks = labels, sources, marks

    def source_of(self, event: Event) -> Source | None:
        """Where the rate of an event is kept; None where it is written in the code."""
        source = self._marks.source_of(event.rate)
        if source is not None:
            return source
        module = event.caller.module
        if event.function in UNIFORM and event.elements <= 1:
            return self._labels.layer_drop(module)
        return self._labels.own_source(module)

    def name_of(self, event: Event) -> str:
        """The site's name."""
        return self._labels.name_of(event.caller, event.function, self.source_of(event))

    def sites(self, in_training: Run, as_it_is: Run) -> list[Site]:
        """The sites of a run in training mode, and of one in the model's own mode."""
        events: dict[str, list[Event]] = {}
        for event in in_training.events:
            events.setdefault(self.name_of(event), []).append(event)
        draws = {self.name_of(event) for event in as_it_is.events if event.n_draws}
        for event in as_it_is.events:
            events.setdefault(self.name_of(event), [])
        seen = [
            self._site(name, found, in_training, name in draws)
            for name, found in events.items()
            if found
        ]
        met = {self.source_of(event) for found in events.values() for event in found}
        return seen + [
            self._not_met(source, in_training) for source in self._sources if source not in met
        ]

    def _site(self, name: str, events: Sequence[Event], run: Run, draws: bool) -> Site:
        source = self.source_of(events[0])
        calls = sum(_is_call(event) for event in events)
        rate: float | None
        if source is None:
            rate = _highest(event.rate for event in events)
            kind = events[0].function
            if kind in UNIFORM or kind.startswith("bernoulli"):
                kind = "unnamed"
        else:
            rate = source.rate
            kind = source.kind
            if events[0].caller.module is not source.module or kind == "rate":
                kind = events[0].function
            else:
                calls = run.n_calls.get(source.module, calls)
        active = draws and (rate is None or rate > 0.0)
        elements = sum(event.elements for event in events)
        line = events[0].caller.line
        where = None if line is None else str(line)
        return Site(name, kind, rate, active, where, calls, elements)

    def _not_met(self, source: Source, run: Run) -> Site:
        calls = run.n_calls.get(source.module, 0) if source.is_whole else 0
        return Site(source.name, source.kind, source.rate, False, None, calls, 0)


def _is_call(event: Event) -> bool:
    return event.is_training or event.n_draws > 0


def _highest(rates: Iterable[float]) -> float | None:
    """The highest rate seen: a function without a gate is called at 0 where it is not to drop."""
    seen = [rate for rate in rates if not math.isnan(rate)]
    return max(seen) if seen else None
