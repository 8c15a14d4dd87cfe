"""Runs of a model that differ in chosen masks and in nothing else."""

import contextlib
import linecache
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import nn

from dropkit.core.naming import named_by
from dropkit.sites.accelerate import accelerate
from dropkit.sites.caller import run
from dropkit.sites.calls import Call, Steer
from dropkit.sites.drawn import Drawn
from dropkit.sites.find import Site, look_for_sites
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.sources import find_sources
from dropkit.sites.untouched import untouched
from dropkit.sites.watch import arguments_of
from dropkit.tracing._frozen import FrozenMasks


class Runs:
    """Runs a model on one batch as in training, under masks that are told.

    Each run begins from the same buffers and the same state of torch's generators: whatever else
    a model draws is frozen. To be used in ``with``; afterwards the model is as before.

    Args:
        model: Any module.
        batch: See `find_sites`.
        seed: Of all masks.

    Attributes:
        sites: Those that draw, in the order a forward meets them.
        idle: The other ones.
        drew: Sites that have drawn from the core in some run.
        moved: Whether a run on the core moved torch's generator: something draws that no address
            names.
    """

    def __init__(self, model: nn.Module, batch: Any, seed: int) -> None:
        self.model, self.seed = model, seed
        self.args, self.kwargs = arguments_of(batch)
        self.batch = batch
        self.drew: set[str] = set()
        self.moved = False
        self._is_on_core = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(untouched(self.model))
            if not self.model.training:
                self.model.train()
            found, names = look_for_sites(self.model, self.batch)
            self.sites = [site for site in found if site.active]
            self.idle = [site for site in found if not site.active]
            self._drawn = Drawn(self.model, names)
            self._lines = {name: line for (_, line, _), name in names.items() if line is not None}
            self._state = torch.get_rng_state()
            self._buffers = [(x, x.detach().clone()) for x in self.model.buffers()]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def site_now(self) -> tuple[str, nn.Module] | None:
        """Name of the site that draws right now, and the innermost module that runs."""
        return self._drawn.locate()

    def code_of(self, site: Site) -> str | None:
        """The line of the model's own code that calls a site; None where there is none to read."""
        line = self._lines.get(site.name)
        text = "" if line is None else linecache.getline(line.file, line.number).strip()
        return text or None

    @contextlib.contextmanager
    def at(self, block: int, samples: Mapping[str, int]) -> Iterator[None]:
        """Inside the block a run draws the masks of these samples, and nothing else moves."""
        for buffer, before in self._buffers:
            buffer.data.copy_(before)
        torch.set_rng_state(self._state)
        masks = FrozenMasks(self._drawn, self.seed, block, samples)
        with torch.compiler.set_stance("force_eager"), named_by(masks):
            yield
        self.drew |= masks.drew
        if self._is_on_core and not torch.equal(self._state, torch.get_rng_state()):
            self.moved = True

    @contextlib.contextmanager
    def on_core(self, steer: Steer | None = None) -> Iterator[None]:
        """Inside the block dropout is drawn by the core, and `steer` sees the calls of functions."""
        self._is_on_core = True
        try:
            with accelerate(self.model), ReplacedFunctions(self.model, steer or Steer()):
                yield
        finally:
            self._is_on_core = False

    @contextlib.contextmanager
    def all_layers(self) -> Iterator[None]:
        """Inside the block LayerDrop skips no layer, which would hide the sites in it."""
        with contextlib.ExitStack() as stack:
            for source in find_sources(self.model):
                if source.kind == "LayerDrop" and source.is_settable:
                    source.set(0.0, stack)
            yield

    def run(self) -> Any:
        """What the model makes of the batch."""
        return run(self.model, self.args, self.kwargs)

    @contextlib.contextmanager
    def without(self, site: Site) -> Iterator[None]:
        """Inside the block this site drops nothing."""
        with contextlib.ExitStack() as stack:
            for source in find_sources(self.model):
                if source.name == site.name and source.is_settable:
                    source.set(0.0, stack)
            stack.enter_context(ReplacedFunctions(self.model, _Without(self, site.name)))
            yield


class _Without(Steer):
    def __init__(self, runs: Runs, name: str) -> None:
        self._runs, self._name = runs, name

    def see(self, call: Call) -> None:
        """Turn off the site's calls."""
        found = self._runs.site_now() if call.draws else None
        if found is not None and found[0] == self._name:
            call.is_training = False
