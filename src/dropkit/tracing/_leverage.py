"""Walk a model's masks, and keep what the rows need of the answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dropkit.core.estimate import Estimate
from dropkit.tracing._answers import Answer, Reader
from dropkit.tracing._indices import Indices, common_shape, gamma_reach, indices
from dropkit.tracing._risk import NormWatch, first_norms, variance_ratio
from dropkit.tracing._runs import Runs
from dropkit.tracing._walks import Array, Moments, moments_of_block, walk_block


@dataclass
class Leverage:
    """Of all sites, in their order.

    Attributes:
        on_loss: Indices on the loss; empty without one.
        on_output: On the output.
        penalties: Of the sites that could be switched off.
        flips: Share of predictions that change with the site's mask.
        ratios: Variance into the next batch norm, on over off; None where there is none.
        losses: Mean loss of each sub-network that shares no mask with the others.
        predictions: Of each of these.
        dead: Names of sites whose mask never changed a bit of loss or output.
        blocks: Walked.
    """

    on_loss: list[Indices] = field(default_factory=list)
    on_output: list[Indices] = field(default_factory=list)
    penalties: list[Estimate | None] = field(default_factory=list)
    flips: list[float | None] = field(default_factory=list)
    ratios: list[float | None] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    predictions: list[Array] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    blocks: int = 0

    @property
    def disagreement(self) -> float | None:
        """Chance that two sub-networks predict different classes."""
        pairs = zip(self.predictions[::2], self.predictions[1::2], strict=True)
        apart = [float(np.mean(a != b)) for a, b in pairs if len(a)]
        return sum(apart) / len(apart) if apart else None


class Walker:
    """Answers of a model under masks that are told, counted.

    Args:
        runs: Of the model; on the core.
        reader: Of its output.

    Attributes:
        n_runs: So far.
    """

    def __init__(self, runs: Runs, reader: Reader) -> None:
        self.n_runs = 0
        self._runs, self._reader = runs, reader
        self._names = [site.name for site in runs.sites]
        self._norms = NormWatch(runs.model)

    def answer(self, block: int, sides: NDArray[np.bool_]) -> tuple[Answer, list[torch.Tensor]]:
        """Of one run, with the variances that entered the batch norms."""
        self.n_runs += 1
        self._norms.start()
        samples = {name: int(side) for name, side in zip(self._names, sides, strict=True)}
        with self._runs.at(block, samples), torch.no_grad():
            answer = self._reader.read(self._runs.run())
        return answer, self._norms.variances

    def leverage(self, n_blocks: int, n_off: int, progress: Callable[[float], None]) -> Leverage:
        """Walk `n_blocks`, and in `n_off` of them leave out one site after the other too."""
        d = len(self._names)
        found = Leverage(blocks=n_blocks)
        loss, output = [], []
        gains: list[list[float]] = [[] for _ in range(d)]
        norms: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in range(d)]
        flips: list[list[float]] = [[] for _ in range(d)]
        behind = first_norms(self._runs)
        moved = np.zeros(d, dtype=np.bool_)
        with self._norms.watching():
            for block in range(n_blocks):
                order, forth, back = walk_block(self.answer, d, block, self._runs.seed)
                parts = [[a for a, _ in walk] for walk in (forth, back)]
                losses = [[a.loss for a in part] for part in parts]
                outputs = [[a.output for a in part] for part in parts]
                loss.append(moments_of_block(order, *losses))
                output.append(moments_of_block(order, *outputs))
                for one in (forth[0][0], forth[-1][0]):
                    found.losses.append(float(one.loss.mean()) if len(one.loss) else math.nan)
                    found.predictions.append(one.predictions)
                for k, site in enumerate(order):
                    a, b = parts[0][k], parts[0][k + 1]
                    if len(a.predictions):
                        flips[site].append(float(np.mean(a.predictions != b.predictions)))
                    moved[site] |= not _same(a, b)
                    moved[site] |= not _same(parts[1][d - k], parts[1][d - 1 - k])
                    if block < n_off:
                        sides = np.zeros(d, dtype=np.bool_)
                        sides[order[:k]] = True
                        with self._runs.without(self._runs.sites[site]):
                            off, variances = self.answer(block, sides)
                        if len(off.loss):
                            on = (a.loss.mean() + b.loss.mean()) / 2.0
                            gains[site].append(float(on - off.loss.mean()))
                        at = behind.get(self._names[site])
                        if at is not None and at < min(len(variances), len(forth[k][1])):
                            norms[site].append((forth[k][1][at], variances[at]))
                progress((block + 1) / n_blocks)
        has_loss = bool(len(forth[0][0].loss))
        on_output = Moments(*(np.array(part) for part in zip(*output, strict=True)))
        found.on_output = indices(on_output)
        if has_loss:
            on_loss = Moments(*(np.array(part) for part in zip(*loss, strict=True)))
            found.on_loss = indices(on_loss)
            size = len(forth[0][0].loss)
            found.penalties = _penalties(gains, on_loss, size)
        else:
            found.penalties = [None] * d
        found.flips = [sum(one) / len(one) if one else None for one in flips]
        found.ratios = [variance_ratio(pairs) for pairs in norms]
        found.dead = [name for name, has in zip(self._names, moved, strict=True) if not has]
        return found


def _same(one: Answer, other: Answer) -> bool:
    return np.array_equal(one.loss, other.loss) and np.array_equal(one.output, other.output)


def _penalties(gains: list[list[float]], moments: Moments, size: int) -> list[Estimate | None]:
    """Means of ``(f(A) + f(B)) / 2 - f(off)``.

    What one of these is off by has a variance of half of the site's total variance, which the walks
    have measured many times over; a Student interval with as many degrees as that has.
    """
    n_blocks = len(moments.along)
    shape = n_blocks * common_shape(np.concatenate([moments.along.T, moments.across.T]))
    # V T of the mean loss; losses of many examples add up as if they were independent
    totals = (moments.along + moments.across).mean(0) / 2.0 / size**2
    found: list[Estimate | None] = []
    for one, total in zip(gains, totals, strict=True):
        if not one:
            found.append(None)
            continue
        mean = sum(one) / len(one)
        reach = gamma_reach(shape) * math.sqrt(float(total) / 2.0 / len(one))
        found.append(Estimate(mean, mean - reach, mean + reach))
    return found
