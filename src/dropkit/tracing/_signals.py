"""What passes through each site in one run: moments, distributions, gradients, and its units."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dropkit.tracing._taps import Tap

_BINS = 24
#: Numbers of units and rows that correlations are taken over, and of elements that are sorted.
_UNITS, _ROWS, _SORTED = 64, 4096, 1 << 16


class Histogram(NamedTuple):
    """Counts in equal bins between `low` and `high`, where all but a thousandth of elements lie."""

    low: float
    high: float
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass
class Signals:
    """What was seen of one site.

    Attributes:
        shape: Of what it drops, in its first call.
        n: Elements.
        sums: Of the elements before and after, and of their squares.
        n_dropped: Elements that were not 0 before and are after.
        n_nonzero: Elements that were not 0 before; of sites that keep the shape.
        n_saturated: Elements on the flat part of the activation that they come from.
        gradient: Squared norms of the gradient at the kept elements, and at all that were not 0.
        never_kept: Share of units that were dropped for every sample that had a signal there.
        correlation: Mean absolute correlation between units before dropout.
        histogram: Of the first call.
    """

    shape: tuple[int, ...] = ()
    n: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    n_dropped: int = 0
    n_nonzero: int = 0
    n_saturated: int | None = None
    gradient: list[float] = field(default_factory=lambda: [0.0, 0.0])
    never_kept: float | None = None
    correlation: float | None = None
    histogram: Histogram | None = None

    def moments(self) -> dict[str, float | None]:
        """Mean and variance before and after."""
        if not self.n:
            return dict.fromkeys(("mean_in", "variance_in", "mean_out", "variance_out"))
        one, two, three, four = (s / self.n for s in self.sums)
        return {
            "mean_in": one,
            "variance_in": max(two - one**2, 0.0),
            "mean_out": three,
            "variance_out": max(four - three**2, 0.0),
        }

    @property
    def rate(self) -> float | None:
        """The share of elements that was dropped; None where that cannot be seen."""
        return self.n_dropped / self.n_nonzero if self.n_dropped else None

    @property
    def gradient_kept(self) -> float | None:
        """Norm of the gradient at the kept elements over that at all."""
        kept, whole = self.gradient
        return math.sqrt(kept / whole) if whole > 0.0 and self.n_dropped else None


class SignalTap(Tap):
    """Gathers the signals of a run with gradients."""

    def __init__(self) -> None:
        self.signals: dict[str, Signals] = {}

    def before(self, name: str, x: Tensor) -> Any:
        """A copy, for a site that writes to its input."""
        del name
        return x.detach().clone(), x.grad_fn

    def after(self, name: str, x: Tensor, out: Tensor, note: Any) -> Tensor:
        """Compare."""
        del x
        seen, (before, source) = self.signals.setdefault(name, Signals()), note
        after = out.detach()
        if not before.is_floating_point() or not before.numel():
            return out
        is_alike = before.shape == after.shape
        if not seen.n:
            seen.shape = tuple(before.shape)
            seen.histogram = _histogram(before, after)
            seen.correlation = correlation_of(before)
        seen.n += before.numel()
        for at, values in enumerate((before.double(), after.double())):
            share = before.numel() / max(values.numel(), 1)
            seen.sums[2 * at] += float(values.sum()) * share
            seen.sums[2 * at + 1] += float(values.square().sum()) * share
        flat = _saturated(before, source)
        if flat is not None:
            seen.n_saturated = (seen.n_saturated or 0) + flat
        if is_alike:
            self._compare(seen, before, after, out)
        return out

    def _compare(self, seen: Signals, before: Tensor, after: Tensor, out: Tensor) -> None:
        had = before != 0
        kept = (after != 0) | ~had
        seen.n_nonzero += int(had.sum())
        seen.n_dropped += int((~kept).sum())
        if seen.never_kept is None and before.dim() > 1:
            dim = unit_dim(before)
            rows = [d for d in range(before.dim()) if d != dim]
            was_there, was_kept = had.any(rows), (kept & had).any(rows)
            seen.never_kept = float((was_there & ~was_kept).float().mean())
        if out.requires_grad:

            def look(gradient: Tensor) -> None:
                squares = gradient.detach().double().square() * had
                seen.gradient[0] += float((squares * kept).sum())
                seen.gradient[1] += float(squares.sum())

            out.register_hook(look)


def unit_dim(x: Tensor) -> int:
    """The dimension that units lie along: channels of images, else the last."""
    return 1 if x.dim() >= 4 and x.shape[1] not in (0, 1) and x.dim() == 4 else max(x.dim() - 1, 0)


def correlation_of(x: Tensor) -> float | None:
    """Mean absolute correlation over pairs of units; None where there is nothing to correlate.

    Of independent normal units it is ``sqrt(2 / (pi * rows))``, not 0.
    """
    if x.dim() < 2:
        return None
    rows = x.movedim(unit_dim(x), -1).reshape(-1, x.shape[unit_dim(x)]).double()
    chooser = torch.Generator().manual_seed(0)
    rows = rows[torch.randperm(len(rows), generator=chooser)[:_ROWS]]
    rows = rows[:, torch.randperm(rows.shape[1], generator=chooser)[:_UNITS]]
    rows = rows[:, rows.std(0) > 0] if len(rows) > 1 else rows[:, :0]
    n = rows.shape[1]
    if n < 2 or len(rows) < 3:
        return None
    matrix = torch.corrcoef(rows.T).abs()
    return float((matrix.sum() - matrix.diagonal().sum()) / (n * (n - 1)))


def _saturated(x: Tensor, source: Any) -> int | None:
    """How many elements lie where the activation that made them is flat; None where none did."""
    name = type(source).__name__
    if name.startswith("Relu"):
        return int((x <= 0).sum())
    if name.startswith("Tanh"):
        return int((x.abs() > 0.99).sum())
    if name.startswith("Sigmoid"):
        return int(((x < 0.01) | (x > 0.99)).sum())
    return None


def _histogram(before: Tensor, after: Tensor) -> Histogram | None:
    parts = [x.reshape(-1)[:_SORTED].float() for x in (before, after)]
    both = torch.cat(parts)
    both = both[both.isfinite()]
    if not both.numel():
        return None
    low, high = (float(both.quantile(q)) for q in (0.0005, 0.9995))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    counts = [
        tuple(int(n) for n in torch.histc(x, _BINS, min=low, max=high).tolist()) for x in parts
    ]
    return Histogram(low, high, counts[0], counts[1])
