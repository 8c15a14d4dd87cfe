"""From paired differences to a decision and to the rates that may be the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dropkit.errors import OptionError
from dropkit.studies.looks import Look
from dropkit.studies.plan import Arm
from dropkit.studies.result import Decision, Difference
from dropkit.studies.statistics import bounds, joint_confidence, mean_with_interval

#: When a study ends: when all replicates are done, or when it is decided.
Until = Literal["all", "decided"]


@dataclass(frozen=True)
class Terms:
    """How a study is judged; fixed before it begins.

    Attributes:
        metric: Name of the compared metric; lower is better.
        margin: Differences within +-`margin` are of no practical interest, >= 0.
        confidence: Of the intervals, in (0, 1).
        resample_ratio: Validation over training examples where replicates re-split one data set.
        replicates: How many at most.
        until: When it ends.

    Raises:
        OptionError: A number is outside its range.
    """

    metric: str
    margin: float
    confidence: float
    resample_ratio: float
    replicates: int
    until: Until

    def __post_init__(self) -> None:
        if self.replicates < 1:
            raise OptionError(f"`replicates` must be at least 1; got {self.replicates}.")
        if not self.margin >= 0.0:
            raise OptionError(f"`margin` must be >= 0; got {self.margin!r}.")
        if self.until not in ("all", "decided"):
            raise OptionError(f"`until` must be 'all' or 'decided'; got {self.until!r}.")
        mean_with_interval([0.0], confidence=self.confidence, resample_ratio=self.resample_ratio)

    @property
    def alpha(self) -> float:
        """Share of studies that may be wrong."""
        return 1.0 - self.confidence


#: The compared metric of each arm, a replicate each, the same replicates in the same order.
Values = Mapping[str, Sequence[float]]


def judged_arms(arms: Sequence[Arm]) -> list[Arm]:
    """The arms that differ from the baseline in nothing but dropout: the verdict is on these."""
    base = arms[0]
    return [arm for arm in arms[1:] if arm.has_dropout and arm.differs_only_in(base, "rates")]


def differences(
    arms: Sequence[Arm], values: Values, terms: Terms, look: Look
) -> tuple[Difference, ...]:
    """Each arm but the first against the first."""
    judged = {arm.name for arm in judged_arms(arms)}
    jointly = joint_confidence(terms.confidence, len(judged))
    base = values[arms[0].name]
    found = []
    for arm in arms[1:]:
        pairs = _pairs(values[arm.name], base)
        own = mean_with_interval(pairs, confidence=terms.confidence, look=look)
        joint = elsewhere = None
        if arm.name in judged:
            joint = mean_with_interval(pairs, confidence=jointly, look=look)
            if terms.resample_ratio > 0:
                elsewhere = mean_with_interval(
                    pairs, confidence=jointly, resample_ratio=terms.resample_ratio, look=look
                )
        found.append(Difference(arm.name, own, joint, elsewhere, pairs))
    return tuple(found)


def decision(found: Sequence[Difference], terms: Terms, look: Look) -> Decision:
    """Judge dropout by the arms that differ in nothing else.

    - *no practical difference*: each of them lies above ``-margin`` and below ``margin`` by two
      one-sided tests. All must pass, so that none needs to allow for the others.
    - *helps*: one of the joint intervals lies below 0;
    - *harms*: all joint intervals lie above 0;
    - *not enough evidence*: none of these.

    Arms without any effect are said to help or harm in at most a share ``1 - confidence`` of
    studies, and arms of which one lies as far as the margin to be alike in at most as many.

    Source:
        Berger 1982, Technometrics 24 (intersection-union tests need no correction).
    """
    judged = [d for d in found if d.jointly is not None]
    joint = [d.jointly for d in judged if d.jointly is not None]
    if not judged:
        return "not enough evidence"
    if terms.margin > 0.0:
        ends = [bounds(d.pairs, terms.alpha, look) for d in judged]
        if all(-terms.margin < low and high < terms.margin for low, high in ends):
            return "no practical difference"
    if any(e.high < 0.0 for e in joint):
        return "helps"
    if all(e.low > 0.0 for e in joint):
        return "harms"
    return "not enough evidence"


def best_set(arms: Sequence[Arm], values: Values, terms: Terms, look: Look) -> tuple[str, ...]:
    """The baseline and the judged arms that may be the best of them, in their order.

    An arm is left out where some other arm lies below it by a one-sided test at
    ``alpha / (number of others)``. The best one, against which no such test is right, is left out
    in at most a share `alpha` of studies: the set holds it with the study's confidence.

    Source:
        Hsu 1984, Annals of Statistics 12 (comparisons with the best), here with Bonferroni.
    """
    rivals = [arms[0], *judged_arms(arms)]
    if len(rivals) < 2 or not values[arms[0].name]:
        return ()
    each = terms.alpha / (len(rivals) - 1)

    def is_beaten(arm: Arm) -> bool:
        own = values[arm.name]
        lows = (
            bounds(_pairs(own, values[other.name]), each, look)[0]
            for other in rivals
            if other is not arm
        )
        return any(low > 0.0 for low in lows)

    return tuple(arm.name for arm in rivals if not is_beaten(arm))


def replicates_to_settle(pairs: Sequence[float], alpha: float, look: Look, most: int) -> int | None:
    """How many replicates would show this mean at this spread; None where `most` would not."""
    found = mean_with_interval(pairs, confidence=1.0 - alpha)
    n = len(pairs)
    spread = math.sqrt(sum((pair - found.value) ** 2 for pair in pairs) / (n - 1))
    for wanted in range(n + 1, most + 1):
        if look.reach(wanted, alpha) * spread < abs(found.value):
            return wanted
    return None


def _pairs(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(ours, theirs, strict=True))
