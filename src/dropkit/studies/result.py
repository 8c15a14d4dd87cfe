"""What a study found, as plain frozen data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dropkit.core.estimate import Estimate
from dropkit.studies.plan import Arm
from dropkit.studies.trial import Point

Decision = Literal["helps", "harms", "no practical difference", "not enough evidence"]

#: What a next step is about.
Kind = Literal["workflow", "data", "model", "retrieval"]

#: Whether a signal's facts are there, absent, or were not measured in this study.
State = Literal["fired", "silent", "not measured"]


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
class Signal:
    """What one rule found that could call for a change other than of the rate.

    Attributes:
        name: The rule's.
        kind: What the change would be to.
        state: Whether it fired.
        message: What was found, or what would have to be measured, in a sentence.
        step: What to do where it fired.
        evidence: The numbers that it looked at, and its thresholds.
        source: Where the rule is from.
    """

    name: str
    kind: Kind
    state: State
    message: str
    step: str
    evidence: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class NextStep:
    """What to change next.

    Attributes:
        kind: What it is about: "rate" where no signal fired and the decision is clear, or "not
            enough evidence".
        sentence: What to do.
        because: The signals that say so, by name; empty where none fired.
    """

    kind: Kind | Literal["rate", "not enough evidence"]
    sentence: str
    because: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """What the study says of dropout.

    Attributes:
        decision: In one of four words.
        best: The dropout arm with the lowest mean of the metric; None before there is one.
        effect: Its difference to the baseline, with the joint interval.
        sentence: The decision in words, with rate and numbers.
        rests_on: What the decision rests on and what it does not speak for, a sentence each.
        best_set: The baseline and dropout arms that may be the best: a set that holds the best of
            them with the study's confidence.
        next_step: What to change next, or that there is not enough evidence to say.
        signals: What each rule found, those that did not fire included.
    """

    decision: Decision
    best: str | None
    effect: Estimate | None
    sentence: str
    rests_on: Sequence[str]
    best_set: Sequence[str] = ()
    next_step: NextStep | None = None
    signals: Sequence[Signal] = ()


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
        is_anytime: Whether the intervals hold however often one looked; else they are Student's,
            for the one look when all replicates were done.
        is_decided: Whether it ended early because it was decided, as it was to.
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
    is_anytime: bool = False
    is_decided: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Everything, as dicts, lists, texts and numbers."""
        return asdict(self)
