"""What dropout may break: variances that batch norms learn, and units that lean on each other."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dropkit.sites.find import Site
from dropkit.tracing._runs import Runs
from dropkit.tracing._signals import unit_dim
from dropkit.tracing._taps import Tap, tapped


class NormWatch:
    """Variances of what enters the batch norms of a model, in the order they are called.

    Attributes:
        names: Of the batch norms.
        variances: Of the latest run: a tensor over channels for each call.
    """

    def __init__(self, model: nn.Module) -> None:
        self._norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        self.variances: list[Tensor] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the block each run begins anew with `start`."""
        handles = [m.register_forward_pre_hook(self._note) for m in self._norms]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def start(self) -> None:
        """Forget the last run."""
        self.variances = []

    def _note(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0].detach().double()
        self.variances.append(x.movedim(1, 0).flatten(1).var(1, unbiased=False))


def first_norms(runs: Runs) -> dict[str, int]:
    """Which call of a batch norm is the first behind each site."""
    events: list[str | None] = []

    class _Order(Tap):
        def before(self, name: str, x: Tensor) -> None:
            del x
            events.append(name)

    norms = [m for m in runs.model.modules() if isinstance(m, _BatchNorm)]
    handles = [m.register_forward_pre_hook(lambda *_: events.append(None)) for m in norms]
    try:
        if norms:
            with runs.at(0, {}), tapped(runs, _Order()), torch.no_grad():
                runs.run()
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, int] = {}
    n_norms = events.count(None)
    for at, event in enumerate(events):
        behind = sum(one is None for one in events[:at])
        if event is not None and event not in found and behind < n_norms:
            found[event] = behind
    return found


def variance_ratio(pairs: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    """Mean over channels of the variance with a site on over that with it off."""
    if not pairs:
        return None
    on = torch.stack([one for one, _ in pairs]).mean(0)
    off = torch.stack([other for _, other in pairs]).mean(0)
    is_alive = off > 0
    return float((on[is_alive] / off[is_alive]).mean()) if bool(is_alive.any()) else None


class _Silent(Tap):
    """Lets units behind one site be 0."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.units: tuple[int, ...] = ()
        self.n_units = 0

    def after(self, name: str, x: Tensor, out: Tensor, note: Any) -> Tensor:
        """Silence them."""
        del x, note
        if name != self._name or not out.dim():
            return out
        self.n_units = out.shape[unit_dim(out)]
        if not self.units:
            return out
        out = out.clone()
        out.index_fill_(unit_dim(out), torch.tensor(self.units, device=out.device), 0.0)
        return out


#: Runs that `ablate` takes.
ABLATION_RUNS = 4


def ablate(
    runs: Runs, site: Site, loss: Callable[[], float | None]
) -> tuple[float | None, float | None]:
    """Rise of the loss for one silent unit behind `site`, and what two add beyond that.

    Args:
        runs: Of a model in eval mode.
        site: Which.
        loss: Runs the model and gives its loss.
    """
    tap = _Silent(site.name)
    with tapped(runs, tap):
        whole = loss()
        if whole is None or tap.n_units < 2:
            return None, None
        chosen = np.random.default_rng(runs.seed).choice(tap.n_units, 2, replace=False)
        one, other = (int(unit) for unit in chosen)
        rises = []
        for units in ((one,), (other,), (one, other)):
            tap.units = units
            rises.append((loss() or 0.0) - whole)
    return (rises[0] + rises[1]) / 2.0, rises[2] - rises[0] - rises[1]
