"""What each site costs: wall time of forward and backward, and bytes kept in between."""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dropkit.tracing._runs import Runs
from dropkit.tracing._taps import Tap, tapped

_REPEATS = 2
#: What dropkit's own dropout keeps of a mask: key, stream and threshold.
_ADDRESS_BYTES = 24


@dataclass
class Cost:
    """Of one site in one run, or of the whole run.

    Attributes:
        forward_s: Wall seconds.
        backward_s: Likewise.
        bytes_kept: Of tensors that autograd keeps, the site's own input left out.
    """

    forward_s: float = 0.0
    backward_s: float = 0.0
    bytes_kept: int = 0


@dataclass
class Costs:
    """Of a run.

    Attributes:
        whole: Of all of it.
        sites: By name.
    """

    whole: Cost = field(default_factory=Cost)
    sites: dict[str, Cost] = field(default_factory=dict)

    def shares(self, name: str) -> tuple[float | None, float | None]:
        """Of the forward's and of the backward's time; None where there was none."""
        cost = self.sites.get(name)
        if cost is None:
            return None, None
        backward = cost.backward_s / self.whole.backward_s if self.whole.backward_s else None
        return cost.forward_s / self.whole.forward_s, backward


class _CostTap(Tap):
    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._open: list[Any] = []

    def before(self, name: str, x: Tensor) -> Any:
        del name
        kept: dict[int, int] = {}
        own = x.untyped_storage().data_ptr()

        def keep(saved: Tensor) -> Tensor:
            storage = saved.untyped_storage()
            if storage.data_ptr() != own:
                kept[storage.data_ptr()] = storage.nbytes()
            return saved

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved)
        hooks.__enter__()
        self._open.append(hooks)
        return kept, time.perf_counter()

    def after(self, name: str, x: Tensor, out: Tensor, note: Any) -> Tensor:
        kept, begin = note
        cost = self._costs.sites.setdefault(name, Cost())
        cost.forward_s += time.perf_counter() - begin
        self._open.pop().__exit__()
        cost.bytes_kept += sum(kept.values())
        node = out.grad_fn
        if node is not None and node is not x.grad_fn:
            is_dropkits = "Masked" in node.name() or "Noisy" in node.name()
            cost.bytes_kept += _ADDRESS_BYTES if is_dropkits else 0
            _time(node, cost)
        return out

    def close(self) -> None:
        """Leave what a call that raised has entered."""
        while self._open:
            self._open.pop().__exit__()


def _time(node: Any, cost: Cost) -> None:
    begins: list[float] = []
    node.register_prehook(lambda _: begins.append(time.perf_counter()))

    def end(*_: Any) -> None:
        if begins:
            cost.backward_s += time.perf_counter() - begins.pop()

    node.register_hook(end)


def measure_costs(runs: Runs, scalar: Callable[[Any], Tensor | None]) -> dict[str, Costs]:
    """Mean of two steps behind a first one, on torch's dropout and on dropkit's: ``{"torch": .., "dropkit": ..}``.

    Args:
        runs: Of the model.
        scalar: From what the model gives to what is differentiated; None for no backward.
    """
    found: dict[str, list[Costs]] = {"torch": [], "dropkit": []}
    for repeat in range(_REPEATS + 1):
        for kind, costs in found.items():
            with contextlib.ExitStack() as stack:
                if kind == "dropkit":
                    stack.enter_context(runs.on_core())
                costs.append(_measure(runs, scalar))
        if repeat == 0:  # not warm yet
            for costs in found.values():
                costs.clear()
    return {kind: _median(costs) for kind, costs in found.items()}


def _measure(runs: Runs, scalar: Callable[[Any], Tensor | None]) -> Costs:
    costs = Costs()
    tap = _CostTap(costs)
    with contextlib.ExitStack() as stack:
        stack.callback(tap.close)
        for context in (torch.enable_grad(), runs.all_layers(), runs.at(0, {})):
            stack.enter_context(context)
        stack.enter_context(tapped(runs, tap))
        begin = time.perf_counter()
        loss = scalar(runs.run())
        costs.whole.forward_s = time.perf_counter() - begin
        if loss is not None and loss.requires_grad:
            begin = time.perf_counter()
            loss.backward()
            costs.whole.backward_s = time.perf_counter() - begin
    for p in runs.model.parameters():
        p.grad = None
    return costs


def _median(all_costs: list[Costs]) -> Costs:
    def of(costs: list[Cost]) -> Cost:
        return Cost(
            statistics.median(cost.forward_s for cost in costs),
            statistics.median(cost.backward_s for cost in costs),
            max(cost.bytes_kept for cost in costs),
        )

    names = {name for costs in all_costs for name in costs.sites}
    sites = {name: of([costs.sites.get(name, Cost()) for costs in all_costs]) for name in names}
    return Costs(of([costs.whole for costs in all_costs]), sites)
