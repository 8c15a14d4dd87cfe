"""What a study found, as plain frozen data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dropkit.core.estimate import Estimate
from dropkit.studies.plan import Arm, Point

Decision = Literal["helps", "harms", "no practical difference", "not enough evidence"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial as it went.

    Attributes:
        arm: Its name.
        replicate: 0, 1, ...
        metrics: What the fit returned; empty where it failed.
        points: Metrics on the way, in the order of their steps.
        wall_s: Seconds that it took.
        error: Why it failed, in one line; None where it did not.
    """

    arm: str
    replicate: int
    metrics: Mapping[str, float]
    points: Sequence[Point] = ()
    wall_s: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class ArmResult:
    """One arm over all finished replicates.

    Attributes:
        arm: What was tried.
        n_finished: Replicates that count: those that every arm finished.
        means: Each metric's mean over them.
        curve: The metrics on the way, averaged over them.
    """

    arm: Arm
    n_finished: int
    means: Mapping[str, float]
    curve: Sequence[Point]


@dataclass(frozen=True)
class Difference:
    """One arm against the baseline: arm minus baseline in the study's metric, pair by pair.

    Attributes:
        arm: Its name.
        estimate: Mean of the pairs with an interval for this arm alone.
        jointly: The same mean with an interval that holds for all arms of the verdict at once;
            None for an arm that the verdict does not look at.
        elsewhere: Like `jointly`, but for another data set of this kind; None also where
            replicates did not re-split one data set.
        pairs: The differences, a replicate each.
    """

    arm: str
    estimate: Estimate
    jointly: Estimate | None
    elsewhere: Estimate | None
    pairs: Sequence[float]


@dataclass(frozen=True)
class Verdict:
    """What the study says of dropout.

    Attributes:
        decision: In one of four words.
        best: The dropout arm with the lowest mean of the metric; None before there is one.
        effect: Its difference to the baseline, with the joint interval.
        sentence: The decision in words, with rate and numbers.
        rests_on: What the decision rests on and what it does not speak for, a sentence each.
    """

    decision: Decision
    best: str | None
    effect: Estimate | None
    sentence: str
    rests_on: Sequence[str]


@dataclass(frozen=True)
class StudyResult:
    """All that a study found.

    Attributes:
        title: What was studied.
        metric: Name of the metric that is compared; lower is better.
        baseline: Name of the arm that the others are compared with.
        margin: Differences within +-`margin` of the metric are of no practical interest.
        confidence: Of every interval, in (0, 1).
        resample_ratio: Validation over training examples where replicates re-split one data set.
        n_replicates: How many were planned.
        n_complete: How many every arm finished; the numbers rest on these.
        was_stopped: Whether it ended before all trials were done.
        arms: In the order they were given.
        differences: All arms but the baseline, in the same order.
        verdict: What it says of dropout.
        trials: Every record, also of failed trials and incomplete replicates.
        about: What it ran on: data, seed, machine, versions, seconds.
    """

    title: str
    metric: str
    baseline: str
    margin: float
    confidence: float
    resample_ratio: float
    n_replicates: int
    n_complete: int
    was_stopped: bool
    arms: Sequence[ArmResult]
    differences: Sequence[Difference]
    verdict: Verdict
    trials: Sequence[TrialRecord]
    about: Mapping[str, str | int | float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as dicts, lists, texts and numbers."""
        return asdict(self)
