"""What rules look at: a model, and what a few runs of it show."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dropkit.auditing.drops import Drop
from dropkit.auditing.flow import Edge
from dropkit.auditing.runs import Loss, traced
from dropkit.auditing.traced import Traced
from dropkit.core.scope import site_name
from dropkit.errors import RatesWarning
from dropkit.sites.configs import ConfigField, config_fields
from dropkit.sites.find import Places, Site
from dropkit.sites.labels import Labels
from dropkit.sites.marks import marked
from dropkit.sites.silence import silence
from dropkit.sites.sources import Source, find_sources
from dropkit.sites.watch import Event


@dataclass(frozen=True, eq=False)
class SeenSite:
    """A site, with what the runs showed of it.

    Attributes:
        site: As `find_sites` gives it for the model in training mode.
        module: The innermost module whose code drops there, or which keeps the rate.
        source: Where the rate is kept; None where it is written in the code.
        in_training: Its calls in the forward in training mode.
        in_eval: Its calls in the forward in eval mode.
        in_backward: Its calls in the backward: what checkpointing computes again.
        drops: Each mask that was applied there in the forward in training mode. Layers are not
            skipped in it.
    """

    site: Site
    module: nn.Module
    source: Source | None
    in_training: tuple[Event, ...]
    in_eval: tuple[Event, ...]
    in_backward: tuple[Event, ...]
    drops: tuple[Drop, ...]

    @property
    def name(self) -> str:
        """As `find_sites` gives it."""
        return self.site.name

    @property
    def kind(self) -> str:
        """Class of the module, or name of the function; see `Site`."""
        return self.site.kind

    @property
    def rate(self) -> float | None:
        """Drop rate in [0, 1]; None where it cannot be seen."""
        return self.site.rate

    @property
    def where(self) -> str | None:
        """``file:line`` of the call in the model's own code."""
        return self.site.where

    @property
    def draws_in_training(self) -> bool:
        """Whether a mask is drawn there in training mode."""
        return self.rate != 0.0 and any(event.n_draws for event in self.in_training)

    @property
    def draws_in_eval(self) -> bool:
        """Whether a mask is drawn there in eval mode."""
        return self.rate != 0.0 and any(event.n_draws for event in self.in_eval)

    @property
    def origins(self) -> frozenset[int]:
        """Numbers of its places in the flow of the run in training mode."""
        return frozenset(drop.origin for drop in self.drops)


class Observations:
    """A model, and what a few runs of it show; dear ones are made when a rule asks for them.

    Args:
        model: Any module. No run changes it.
        batch: See `find_sites`.
        loss: From what the model returns to a scalar; see `audit`.
        optimizer: Of the training; None where it was not said.
        epochs: How often the training meets an example; likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Any,
        loss: Loss | None = None,
        *,
        optimizer: Optimizer | None = None,
        epochs: float | None = None,
    ) -> None:
        self.model, self.batch, self.loss = model, batch, loss
        self.optimizer, self.epochs = optimizer, epochs
        self.names = {module: site_name(path) for path, module in model.named_modules()}
        self.sources = find_sources(model)
        with marked(self.sources) as marks:
            self.evaluation = traced(model, batch, is_training=False)
            self.training = traced(model, batch, is_training=True, backward=True, loss=loss)
        self._places = Places(Labels(model), self.sources, marks)
        self.sites = tuple(self._sites())

    @cached_property
    def silent(self) -> Traced:
        """A forward in training mode with all dropout off; batch norms use the batch."""
        with silence(self.model) as quiet:
            del quiet
            return traced(self.model, self.batch, is_training=True)

    @cached_property
    def as_given(self) -> Traced:
        """A forward in the modes that the modules were in when the audit began."""
        with marked(self.sources):
            return traced(self.model, self.batch, is_training=None)

    def again(
        self,
        *,
        is_training: bool = True,
        seed: int = 1,
        backward: bool = False,
        around: Any = None,
    ) -> Traced:
        """One more run, with the gradients of the parameters if there is a backward.

        Args:
            is_training: The mode.
            seed: Of torch's generators. The runs above had 0.
            backward: Whether to differentiate too.
            around: A context for the run.
        """
        with marked(self.sources):
            return traced(
                self.model,
                self.batch,
                is_training=is_training,
                backward=backward,
                loss=self.loss,
                seed=seed,
                keep_gradients=backward,
                around=around,
            )

    def drawn_in(self, run: Traced) -> set[str]:
        """Names of the sites that drew a mask in the forward of a run."""
        by_site = _by_site(self._places, run.forward_events)
        drew = {name for name, events in by_site.items() if any(e.n_draws for e in events)}
        return {site.name for site in self.sites if site.name in drew and site.rate != 0.0}

    @cached_property
    def fields(self) -> Sequence[ConfigField]:
        """The rates in the model's configs, with the sites that each rules."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatesWarning)  # it is for those who set rates
            return config_fields(self.model)

    def name_of(self, module: nn.Module) -> str:
        """Dotted path of a module."""
        return self.names.get(module, "")

    def ancestors(self, module: nn.Module) -> list[nn.Module]:
        """The module, what holds it, and so on to the model."""
        path, found = self.name_of(module), []
        by_name = self._by_name
        while True:
            found += by_name.get(path, [])
            if not path:
                return found
            path = path.rpartition(".")[0]

    @cached_property
    def _by_name(self) -> Mapping[str, list[nn.Module]]:
        found: dict[str, list[nn.Module]] = {}
        for module, name in self.names.items():
            found.setdefault(name, []).insert(0, module)
        return found

    @property
    def acting(self) -> list[SeenSite]:
        """The sites that draw masks in training mode."""
        return [site for site in self.sites if site.draws_in_training]

    def site_of(self, origin: int) -> SeenSite | None:
        """The site of a place in the flow of the run in training mode."""
        return self._by_origin.get(origin)

    @cached_property
    def _by_origin(self) -> Mapping[int, SeenSite]:
        return {origin: site for site in self.sites for origin in site.origins}

    def edges(self, site: SeenSite, kind: str | None = None, **which: Any) -> list[Edge]:
        """What the output of a site reaches in training mode; see `Flow.edges`."""
        return list(self.training.flow.edges(kind, origins=site.origins, **which))

    def _sites(self) -> list[SeenSite]:
        places = self._places
        events = {
            "in_training": _by_site(places, self.training.forward_events),
            "in_eval": _by_site(places, self.evaluation.forward_events),
            "in_backward": _by_site(places, self.training.backward_events),
        }
        drops: dict[str, list[Drop]] = {}
        for drop in self.training.drops:
            drops.setdefault(places.name_of(drop.event), []).append(drop)
        plain = {source.name: source for source in self.sources}
        found = []
        for site in places.sites(self.training.run, self.evaluation.run):
            own = {kind: tuple(by.get(site.name, ())) for kind, by in events.items()}
            first = next(iter(own["in_training"] + own["in_eval"] + own["in_backward"]), None)
            source = plain.get(site.name) if first is None else places.source_of(first)
            module = self.model if source is None else source.module
            if first is not None:
                module = first.caller.module
            found.append(
                SeenSite(site, module, source, **own, drops=tuple(drops.get(site.name, ())))
            )
        return found


def _by_site(places: Places, events: Sequence[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(places.name_of(event), []).append(event)
    return found
