"""One run of one arm, as the fit sees it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from torch import nn

from dropkit.core.address import Address
from dropkit.core.naming import masks_at
from dropkit.core.scope import Rows
from dropkit.sites.rates import set_rates
from dropkit.sites.scheduled import ScheduledRates
from dropkit.studies.plan import Arm


@dataclass(frozen=True)
class Point:
    """Metrics of one trial after `step` steps."""

    step: int
    metrics: Mapping[str, float]


class Line(Protocol):
    """What joins a trial to whoever runs it."""

    def report(self, point: Point) -> None:
        """Hand on a moment of the trial, now."""

    def is_stopped(self) -> bool:
        """Whether the study has been stopped."""


class _NoLine:
    """A trial that nobody listens to, such as one made by hand."""

    def report(self, point: Point) -> None:
        """Keep it to oneself."""

    def is_stopped(self) -> bool:
        """Nobody can stop it."""
        return False


@dataclass(frozen=True)
class Trial:
    """One run of one arm. All arms of a replicate share everything that chance decides.

    Attributes:
        arm: What is tried.
        replicate: 0, 1, ...; each draws its data split, weights, data order and masks anew.
        study_seed: Root of all of it.
        timeout_s: Seconds after which it is to stop; None for no limit.
        points: What it has reported.
        began: When it began, on the clock of `time.monotonic`.
        line: To whoever runs it.
        reasons: Why it was told to stop; empty where it was not.
        scheduled: Rates that follow the steps of `masks`.
    """

    arm: Arm
    replicate: int
    study_seed: int = 0
    timeout_s: float | None = None
    points: list[Point] = field(default_factory=list, compare=False)
    began: float = field(default_factory=time.monotonic, compare=False, repr=False)
    line: Line = field(default_factory=_NoLine, compare=False, repr=False)
    reasons: list[str] = field(default_factory=list, compare=False, repr=False)
    scheduled: list[ScheduledRates] = field(default_factory=list, compare=False, repr=False)

    def seed(self, purpose: str) -> int:
        """A seed in [0, 2**63) for one source of chance; the same in every arm of the replicate.

        Args:
            purpose: For example ``"split"``, ``"weights"`` or ``"order"``.
        """
        root = Address.from_seed(self.study_seed).fold("trial").fold(self.replicate)
        return root.fold(purpose).key >> 1

    def apply(self, model: nn.Module) -> ScheduledRates:
        """Give `model` this arm's drop rates; schedules among them follow the steps of `masks`.

        Raises:
            SiteError: A pattern matches no site.
        """
        change = set_rates(model, self.arm.rates)
        self.scheduled.append(change)
        return change

    def masks(self, step: int, sample: int = 0, rows: Rows = None) -> masks_at:
        """A block in which masks are named: nested across the arms' rates, the same in a replay.

        Args:
            step: Of training, from 0 on; the rates of an arm with schedules become this step's.
            sample: Which of several batches of the step: where gradients accumulate, say.
            rows: Which examples a batch holds, as for `dropkit.masks_at`.
        """
        for rates in self.scheduled:
            rates.go_to(step)
        return masks_at(self.seed("masks"), step=step, sample=sample, rows=rows)

    def report(self, step: int, **metrics: float) -> None:
        """Keep metrics of this moment for the learning curves, and hand them on at once."""
        point = Point(step, {name: float(value) for name, value in metrics.items()})
        self.points.append(point)
        self.line.report(point)

    @property
    def should_stop(self) -> bool:
        """Whether the trial is lost, so that the fit may return at once, with whatever it has.

        It is where the study was stopped, where the trial's time is over, and where a metric that
        it reported is not finite. A trial that heard so counts as failed, and one of a stopped
        study as never begun.
        """
        reason = self._reason()
        if reason is not None:
            self.reasons.append(reason)
        return reason is not None

    def _reason(self) -> str | None:
        if self.timeout_s is not None and time.monotonic() - self.began > self.timeout_s:
            return time_is_over(self.timeout_s)
        for name, value in self.points[-1].metrics.items() if self.points else ():
            if not math.isfinite(value):
                return f"it reported {name} = {value} at step {self.points[-1].step}"
        return "the study was stopped" if self.line.is_stopped() else None


def time_is_over(timeout_s: float) -> str:
    """What the record of a trial says that took too long."""
    return f"its time of {timeout_s:g} s was over"


#: Trains and measures one trial; returns the metrics that the study compares.
Fit = Callable[[Trial], Mapping[str, float]]


def innermost(fit: Fit) -> Fit:
    """What a fit is, under arguments that were given to it beforehand, decorators and recipes."""
    while True:
        under = fit.func if isinstance(fit, partial) else getattr(fit, "__wrapped__", None)
        if under is None:
            return fit
        fit = under
