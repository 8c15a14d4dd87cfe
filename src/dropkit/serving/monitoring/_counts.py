"""What is watched in service, in bins; and how far the bins have moved since the release."""

import bisect
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

#: Upper ends of the bins by quantity; the last bin has no end.
EDGES: Mapping[str, tuple[float, ...]] = {
    "latency_s": tuple(round(0.001 * 10 ** (k / 5), 6) for k in range(21)),  # 1 ms to 10 s
    "disagreement": tuple(k / 20 for k in range(1, 20)),
    "handed_over": (0.5,),
}

#: A bin of the baseline with less than this share is joined with its neighbour.
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Drift:
    """How far the recent answers lie from those at the release.

    Attributes:
        of: The quantity.
        index: The population stability index over the joined bins, at least 0.
        p_value: Chance of an index as high if nothing had moved.
        n_recent: Recent answers that were counted.
    """

    of: str
    index: float
    p_value: float
    n_recent: int


@dataclass
class Counts:
    """Of one quantity: how often each bin was met, in all and among the last `window`.

    Attributes:
        of: The quantity, a key of `EDGES`.
        window: How many answers count as recent.
    """

    of: str
    window: int
    total: list[int] = field(init=False)
    _recent: deque[int] = field(init=False)

    def __post_init__(self) -> None:
        self.total = [0] * (len(EDGES[self.of]) + 1)
        self._recent = deque(maxlen=self.window)

    def add(self, value: float) -> None:
        """Count `value`; one that is not finite goes to the last bin."""
        edges = EDGES[self.of]
        place = bisect.bisect_left(edges, value) if math.isfinite(value) else len(edges)
        self.total[place] += 1
        self._recent.append(place)

    def recent(self) -> list[int]:
        """How often each bin was met of late."""
        counts = [0] * len(self.total)
        for place in list(self._recent):
            counts[place] += 1
        return counts


def quantile(edges: Sequence[float], counts: Sequence[int], q: float) -> float | None:
    """Upper end of the bin in which the quantile lies; None where nothing was counted.

    Above the last edge nothing is known: infinity.

    >>> quantile([1.0, 2.0], [90, 9, 1], 0.95)
    2.0
    """
    met, wanted = 0, q * sum(counts)
    if not wanted:
        return None
    for edge, count in zip(edges, counts, strict=False):  # the last bin has no end
        met += count
        if met >= wanted:
            return edge
    return math.inf


def drift(of: str, baseline: Sequence[int], recent: Sequence[int]) -> Drift | None:
    """Compare two lists of counts over the same bins; None where one holds nothing.

    The population stability index ``sum((a - b) * log(a / b))`` over shares a and b. Without drift
    it is ``1/n + 1/m`` times a chi-square with one degree of freedom fewer than bins, which gives
    the chance of an index as high. Bins with few of the baseline's answers are joined first.

    Source:
        Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14(4): the index's law.

    >>> drift("handed_over", [90, 10], [90, 10]).index
    0.0
    >>> drift("handed_over", [900, 100], [50, 50]).p_value < 1e-6
    True
    """
    n, m = sum(recent), sum(baseline)
    if n == 0 or m == 0:
        return None
    pairs = _joined(baseline, recent)
    if len(pairs) < 2:
        return Drift(of, 0.0, 1.0, n)
    index = 0.0
    for before, now in pairs:
        # Half an answer in each bin, so that an empty one is rare and not impossible.
        a = (now + 0.5) / (n + 0.5 * len(pairs))
        b = (before + 0.5) / (m + 0.5 * len(pairs))
        index += (a - b) * math.log(a / b)
    statistic = index / (1 / n + 1 / m)
    tail = torch.special.gammaincc(
        torch.tensor((len(pairs) - 1) / 2, dtype=torch.float64),
        torch.tensor(statistic / 2, dtype=torch.float64),
    )
    return Drift(of, index, float(tail), n)


def _joined(baseline: Sequence[int], recent: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours joined until each bin holds enough of the baseline."""
    least = _LEAST_SHARE * sum(baseline)
    pairs: list[tuple[int, int]] = []
    before = now = 0
    for b, r in zip(baseline, recent, strict=True):
        before, now = before + b, now + r
        if before >= least:
            pairs.append((before, now))
            before = now = 0
    if before or now:  # what is left above the last full bin
        if pairs and before < least and not now:
            last = pairs.pop()
            before, now = before + last[0], now + last[1]
        pairs.append((before, now))
    return pairs
