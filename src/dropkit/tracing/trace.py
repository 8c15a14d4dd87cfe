"""Where dropout adds leverage, cost and risk in a model."""

import contextlib
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError
from dropkit.functional import dropout
from dropkit.sites.find import Site
from dropkit.tracing._answers import Loss, Reader, tensors_of
from dropkit.tracing._cost import Costs, measure_costs
from dropkit.tracing._frozen import A, root_of
from dropkit.tracing._indices import CONFIDENCE
from dropkit.tracing._leverage import Leverage, Walker
from dropkit.tracing._risk import ABLATION_RUNS, ablate
from dropkit.tracing._runs import Runs
from dropkit.tracing._signals import Signals, SignalTap
from dropkit.tracing._taps import tapped
from dropkit.tracing.result import SiteTrace, Trace

#: Elements of an attention mask that its rate is measured on.
_MEASURED = 1 << 16
_MIN_BLOCKS = 2
_OTHER_RUNS = 7  # one for signals, six for costs
_ATTENTION = ("scaled_dot_product_attention", "MultiheadAttention")


def trace(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    samples: int = 64,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Trace:
    """Measure what each place of dropout in `model` does to its result, costs and risks.

    Leverage is measured by drawing the mask of one site anew while all others stay frozen; see
    `dropkit.tracing._walks` for the design, and docs/trace.md for how to read the numbers.

    Args:
        model: Any module; traced as in training, and left as it was to the bit.
        batch: What it is called with: a tensor, a tuple of arguments, or a mapping of names.
        loss: From what the model gives to a tensor: one number, or better one an example, which
            makes the intervals several times as narrow. None takes the model's own ``.loss``, and
            without one the indices are the output's.
        samples: Each site has at least two pairs of masks, and as many as fit into about three
            forward passes a sample, all runs together.
        seed: Of the masks, in [0, 2**64).
        progress: Is told which share is done, in [0, 1].

    Returns:
        A row a site that draws, in the order the data meets them.

    Raises:
        OptionError: `samples` is below 2, `batch` is of another kind, or `loss` gives no finite
            floating-point tensor.
        MissingExtraError: scipy is not installed.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1), nn.Dropout(0.1))
    >>> found = trace(model, torch.ones(3, 4), lambda y: y.square().mean(), samples=8)
    >>> [(row.site.name, row.rate) for row in found.sites]
    [('1', 0.5), ('3', 0.1)]
    >>> found["1"].total.low <= found["1"].total.value <= found["1"].total.high
    True
    """
    if type(samples) is not int or samples < _MIN_BLOCKS:
        raise OptionError(f"`samples` must be a whole number from 2 up; got {samples!r}.")
    Address.from_seed(seed)
    begin = time.perf_counter()
    reader = Reader(loss)
    tell = progress or (lambda _: None)
    with Runs(model, batch, seed) as runs:
        found = _Parts(runs, reader, samples, tell)
        not_seen = tuple(found.not_seen())
        rows = tuple(found.rows())
    losses = [value for value in found.leverage.losses if not math.isnan(value)]
    return Trace(
        sites=rows,
        target="loss" if found.has_loss else "output",
        loss=statistics.fmean(losses) if losses else None,
        loss_deviation=statistics.stdev(losses) if len(losses) > 1 else None,
        disagreement=found.leverage.disagreement,
        seed=seed,
        samples=samples,
        blocks=found.leverage.blocks,
        runs=found.n_runs,
        forward_ms={kind: costs.whole.forward_s * 1e3 for kind, costs in found.costs.items()},
        backward_ms={kind: costs.whole.backward_s * 1e3 for kind, costs in found.costs.items()},
        wall_s=time.perf_counter() - begin,
        confidence=CONFIDENCE,
        not_seen=not_seen,
        about=_about(model),
    )


class _Parts:
    """All that is measured, part by part."""

    def __init__(
        self, runs: Runs, reader: Reader, samples: int, progress: Callable[[float], None]
    ) -> None:
        self._runs, self._reader, self._samples = runs, reader, samples
        self._sites = runs.sites
        d = max(len(self._sites), 1)
        self.signals = self._take_signals()
        with torch.enable_grad():
            self.costs = measure_costs(runs, self._scalar)
        walker = Walker(runs, reader)
        self.leverage = Leverage()
        self.is_repeatable = True
        if self._sites:
            n_blocks = max(_MIN_BLOCKS, samples // d)
            with runs.on_core():
                self.is_repeatable = self._repeats(walker)
                self.leverage = walker.leverage(
                    n_blocks, min(n_blocks, max(1, samples // (2 * d))), progress
                )
        self.ablations = self._ablate()
        n_ablated = sum(one is not None for one, _ in self.ablations.values())
        self.n_runs = walker.n_runs + ABLATION_RUNS * n_ablated + _OTHER_RUNS

    def _scalar(self, output: Any) -> Tensor | None:
        """What is differentiated: the loss, or without one the output's mean square."""
        loss = self._reader.loss_of(output)
        if loss is not None:
            return loss.mean()
        parts = [x.float().square().mean() for x in tensors_of(output)]
        return torch.stack(parts).sum() if parts else None

    def _take_signals(self) -> dict[str, Signals]:
        tap = SignalTap()
        runs = self._runs
        with contextlib.ExitStack() as stack:
            for context in (torch.enable_grad(), runs.on_core(), runs.all_layers()):
                stack.enter_context(context)
            for context in (runs.at(0, {}), tapped(runs, tap)):
                stack.enter_context(context)
            output = runs.run()
            loss = self._scalar(output)
            self.has_loss = self._reader.loss_of(output) is not None
            if loss is not None and loss.requires_grad:
                loss.backward()
        for p in runs.model.parameters():
            p.grad = None
        return tap.signals

    def _repeats(self, walker: Walker) -> bool:
        """Whether equal masks give equal answers."""
        none = np.zeros(len(self._sites), dtype=np.bool_)
        (one, _), (other, _) = (walker.answer(0, none) for _ in range(2))
        return np.array_equal(one.loss, other.loss) and np.array_equal(one.output, other.output)

    def _ablate(self) -> dict[str, tuple[float | None, float | None]]:
        """Of as many sites as the runs suffice for, those with most leverage first."""
        runs = self._runs
        if not self.has_loss or not self._sites:
            return {}
        order = sorted(
            range(len(self._sites)),
            key=lambda at: self.leverage.on_loss[at].total.value,
            reverse=True,
        )
        n_sites = max(1, self._samples // (4 * ABLATION_RUNS))
        modes = [(module, module.training) for module in runs.model.modules()]
        runs.model.eval()
        try:
            with torch.no_grad():
                return {
                    self._sites[at].name: ablate(runs, self._sites[at], self._loss_in_use)
                    for at in order[:n_sites]
                }
        finally:
            for module, mode in modes:
                module.training = mode

    def _loss_in_use(self) -> float | None:
        with self._runs.at(0, {}):
            loss = self._reader.loss_of(self._runs.run())
        return None if loss is None else float(loss.mean())

    def rows(self) -> list[SiteTrace]:
        """A row a site."""
        return [self._row(at, site) for at, site in enumerate(self._sites)]

    def _row(self, at: int, site: Site) -> SiteTrace:
        signals = self.signals.get(site.name, Signals())
        ours, theirs = self.costs["dropkit"], self.costs["torch"]
        leverage = self.leverage
        forward, backward = ours.shares(site.name)
        forward_torch, backward_torch = theirs.shares(site.name)
        on_loss = leverage.on_loss[at] if leverage.on_loss else None
        address = None
        if site.name in self._runs.drew:
            address = root_of(self._runs.seed, 0, A).fold(site.name).fold(0)
        n = signals.n
        saturated = signals.n_saturated
        ablation, co_adaptation = self.ablations.get(site.name, (None, None))
        return SiteTrace(
            site=site,
            code=self._runs.code_of(site),
            address=address,
            measured_rate=signals.rate or _rate_of_mask(site, address),
            shape=signals.shape or None,
            **signals.moments(),
            gradient_kept=signals.gradient_kept,
            first_order=None if on_loss is None else on_loss.first_order,
            total=None if on_loss is None else on_loss.total,
            output_first_order=leverage.on_output[at].first_order,
            output_total=leverage.on_output[at].total,
            penalty=leverage.penalties[at],
            flips=leverage.flips[at],
            forward_share=forward,
            backward_share=backward,
            forward_share_torch=forward_torch,
            backward_share_torch=backward_torch,
            bytes_kept=_bytes(ours, site),
            bytes_kept_torch=_bytes(theirs, site),
            variance_ratio=leverage.ratios[at],
            saturation=None if saturated is None else saturated / n,
            never_kept=signals.never_kept if signals.n_dropped else None,
            correlation=signals.correlation,
            ablation=ablation,
            co_adaptation=co_adaptation,
            histogram=signals.histogram,
        )

    def not_seen(self) -> list[str]:
        """What the numbers do not hold, a sentence each."""
        runs, said = self._runs, []
        if not self._sites:
            return ["The model draws no mask in training: there is nothing to trace."]
        silent = [site.name for site in self._sites if site.name not in runs.drew]
        if silent:
            said.append(
                f"Masks that dropkit has no kernel for stayed as they were, and their leverage "
                f"is 0 here: {_listed(silent)}."
            )
        if runs.moved:
            said.append(
                "Something else than dropout draws random numbers. They were frozen at one draw."
            )
        if not self.is_repeatable:
            said.append(
                "Two runs under the same masks gave different results: something changes from "
                "run to run, and the leverage of all sites holds a part of it."
            )
        dead = [name for name in self.leverage.dead if name not in silent]
        if dead:
            said.append(
                f"No draw of these masks moved the result by a bit: {_listed(dead)}. They feed "
                "nothing, are multiplied by zero, or their layer was skipped in all runs."
            )
        blind = [s.name for s in self._sites if s.name not in self.signals]
        if blind:
            said.append(
                "What passes through these could not be looked at, only what they do to the "
                f"result: {_listed(blind)}."
            )
        if not self.has_loss:
            said.append("No loss was given: leverage is on the output, and there is no penalty.")
        elif len(self.ablations) < len(self._sites):
            said.append(
                f"Units were silenced behind the {len(self.ablations)} sites with most leverage "
                "only."
            )
        if runs.idle:
            said.append(
                f"{len(runs.idle)} places draw no mask in training and have no row: "
                f"{_listed([site.name for site in runs.idle])}."
            )
        return said


def _rate_of_mask(site: Site, address: Address | None) -> float | None:
    """Of a mask that is drawn again, where what it was applied to cannot be looked at."""
    if address is None or not site.rate or site.kind not in _ATTENTION or not site.elements:
        return None
    if not 0 < threshold_from_rate(site.rate) < 1 << 16:
        return site.rate
    n = min(site.elements // max(site.calls or 1, 1), _MEASURED)
    return 1.0 - float(dropout(torch.ones(n), site.rate, address=address).count_nonzero()) / n


def _bytes(costs: Costs, site: Site) -> int | None:
    cost = costs.sites.get(site.name)
    return None if cost is None or not costs.whole.backward_s else cost.bytes_kept


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _about(model: nn.Module) -> dict[str, str | int]:
    import dropkit  # noqa: PLC0415 - the package imports this file

    return {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dropkit": dropkit.__version__,
    }
