"""How much of a planted secret a model gives away."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dropkit.core.estimate import Estimate
from dropkit.finetuning.memorizing._canary import Canary
from dropkit.finetuning.memorizing._examples import Encoded
from dropkit.finetuning.memorizing._intervals import share
from dropkit.finetuning.memorizing._scipy import stats
from dropkit.finetuning.memorizing._scores import total_logs

Method = Literal["exact", "sampled", "extrapolated"]


@dataclass(frozen=True)
class Exposure:
    """Of one canary, in bits.

    Attributes:
        repeats: How often it was planted.
        exposure: ``log2 |R| - log2 rank``: how many bits of the secret the model saves one who
            guesses, likeliest secrets first. Of a model that never saw it, it is above `b` with
            chance ``2 ** -b``. An exact one has an interval of no width.
        greatest: ``log2 |R|``, where the secret is the likeliest of all.
        method: ``"exact"``: every secret of the space was scored. ``"sampled"``: as many as were
            asked for, the secret's rank among them with a binomial interval. ``"extrapolated"``:
            likewise, but none of them was as likely as the secret, so that the value comes from a
            skew-normal law fitted to their log probabilities; the interval stays the binomial one.
            From 1,024 normal numbers such a value is within 4 bits at 18 bits.
    """

    repeats: int
    exposure: Estimate
    greatest: float
    method: Method


def exposures(
    model: nn.Module,
    canaries: Sequence[Canary],
    *,
    references: int,
    batch_size: int,
    confidence: float,
    seed: int,
) -> tuple[Exposure, ...]:
    """The exposure of each canary; other planted secrets of the same space do not count.

    Args:
        model: Quiet.
        canaries: Any number.
        references: Secrets to score, at most; canaries of one space share them.
        batch_size: Secrets a forward.
        confidence: Of the intervals.
        seed: Of the secrets that are drawn where not all are scored.

    Source:
        Carlini et al. 2019, USENIX Security, arXiv:1802.08232, definitions 1 to 3 and section 4.3.
    """
    spaces: dict[tuple[object, ...], list[int]] = {}
    for i, canary in enumerate(canaries):
        spaces.setdefault((canary.prefix, canary.alphabet, len(canary.secret)), []).append(i)
    found: dict[int, Exposure] = {}
    for which in spaces.values():
        own = [canaries[i] for i in which]
        others, is_whole = _references(own, references, seed)
        prefix = own[0].prefix
        rows = [prefix + secret for secret in [*(canary.secret for canary in own), *others]]
        logs = total_logs(model, _encoded(rows, len(prefix)), "canaries", batch_size)
        of_others = logs[len(own) :]
        for i, canary, log in zip(which, own, logs[: len(own)], strict=True):
            found[i] = _exposure(canary, log, of_others, confidence, is_whole=is_whole)
    return tuple(found[i] for i in range(len(canaries)))


def _encoded(rows: Sequence[tuple[int, ...]], n_prefix: int) -> list[Encoded]:
    ids = torch.tensor(rows)
    is_secret = torch.arange(ids.shape[1]) >= n_prefix
    return [Encoded(row, is_secret) for row in ids]


def _references(
    canaries: Sequence[Canary], n: int, seed: int
) -> tuple[list[tuple[int, ...]], bool]:
    """Secrets to rank against, without those that were planted, and whether that is all of them."""
    planted = {canary.secret for canary in canaries}
    alphabet, length = canaries[0].alphabet, len(canaries[0].secret)
    if len(alphabet) ** length - len(planted) <= n:
        every = itertools.product(alphabet, repeat=length)
        return [secret for secret in every if secret not in planted], True
    draw = np.random.default_rng(seed)
    found: list[tuple[int, ...]] = []
    while len(found) < n:
        secret = tuple(alphabet[int(i)] for i in draw.integers(len(alphabet), size=length))
        if secret not in planted:
            found.append(secret)
    return found, False


def _exposure(
    canary: Canary, log: Tensor, others: Tensor, confidence: float, *, is_whole: bool
) -> Exposure:
    n_likelier = int((others >= log).sum())
    if is_whole:
        greatest = math.log2(len(others) + 1)
        value = greatest - math.log2(n_likelier + 1)
        return Exposure(canary.repeats, Estimate(value, value, value), greatest, "exact")
    greatest = canary.bits
    chance = share(n_likelier, len(others), confidence)
    low, high = (_bits(p, greatest) for p in (chance.high, chance.low))
    if n_likelier:
        found = Estimate(_bits(chance.value, greatest), low, high)
        return Exposure(canary.repeats, found, greatest, "sampled")
    law = stats().skewnorm
    tail = float(law.logsf(float(log), *law.fit(others.numpy()))) / math.log(2)
    value = min(max(-tail, low), high)
    return Exposure(canary.repeats, Estimate(value, low, high), greatest, "extrapolated")


def _bits(chance: float, greatest: float) -> float:
    return min(-math.log2(chance), greatest) if chance > 0 else greatest
