"""What every rule is given, and how it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from dropkit.errors import OptionError
from dropkit.studies.decision import Terms
from dropkit.studies.looks import Look
from dropkit.studies.plan import Arm
from dropkit.studies.result import Decision, Difference, Kind, Signal, State, TrialRecord


class Finding(Protocol):
    """What the auditor found in the model: `dropkit.audit` returns such."""

    @property
    def code(self) -> str:
        """Of the rule, such as ``"DRP201"``."""

    @property
    def severity(self) -> str:
        """``"info"``, ``"warning"`` or ``"error"``."""

    @property
    def message(self) -> str:
        """What was found."""


@dataclass(frozen=True)
class Retrieval:
    """Scores of a system that answers from what it retrieves, an entry for each example.

    Attributes:
        answer_right: Whether the answer was right.
        retrieval_right: Whether what it needed was among what was retrieved.
        neighbours: Of the same examples in two or more passes of the encoder, as it serves:
            ``passes x examples x k`` identifiers; empty where there is one pass only.

    Raises:
        OptionError: The lists are of different lengths.
    """

    answer_right: Sequence[bool] = ()
    retrieval_right: Sequence[bool] = ()
    neighbours: Sequence[Sequence[Sequence[int]]] = ()

    def __post_init__(self) -> None:
        if len(self.answer_right) != len(self.retrieval_right):
            raise OptionError(
                "`answer_right` and `retrieval_right` must have an entry for each example; "
                f"got {len(self.answer_right)} and {len(self.retrieval_right)}."
            )
        sizes = {len(one) for one in self.neighbours}
        if len(sizes) > 1:
            raise OptionError(
                f"`neighbours` must list the same examples in each pass; got {sorted(sizes)}."
            )


@dataclass(frozen=True)
class Checks:
    """What the user hands in beside the trials, for the rules that look at it.

    Attributes:
        findings: Of the auditor; None where the model was not audited.
        retrieval: None where nothing is retrieved.
    """

    findings: Sequence[Finding] | None = None
    retrieval: Retrieval | None = None


@dataclass(frozen=True)
class Evidence:
    """All that a rule may look at.

    Attributes:
        arms: The baseline first.
        records: Each arm's records of the replicates that count, in the same order.
        differences: Each arm against the baseline.
        decision: What the study says.
        best: The best dropout arm; None before there is one.
        terms: How the study is judged.
        look: How wide its intervals are.
        checks: What the user handed in.
    """

    arms: Sequence[Arm]
    records: Mapping[str, Sequence[TrialRecord]]
    differences: Sequence[Difference]
    decision: Decision
    best: str | None
    terms: Terms
    look: Look
    checks: Checks

    @property
    def baseline(self) -> str:
        """Name of the first arm."""
        return self.arms[0].name

    @property
    def n_replicates(self) -> int:
        """How many count."""
        return len(self.records[self.baseline])

    @property
    def harmful(self) -> list[str]:
        """The dropout arms whose joint interval lies above 0."""
        return [d.arm for d in self.differences if d.jointly is not None and d.jointly.low > 0.0]

    def values(self, arm: str, metric: str) -> list[float]:
        """A metric of each record of `arm`; empty where any lacks it."""
        records = self.records[arm]
        has = records and all(metric in record.metrics for record in records)
        return [record.metrics[metric] for record in records] if has else []

    def mean(self, arm: str, metric: str) -> float | None:
        """Its mean; None where it was not measured."""
        values = self.values(arm, metric)
        return fmean(values) if values else None


@dataclass(frozen=True)
class About:
    """What a rule is, and its three answers.

    Attributes:
        name: Of the rule.
        kind: What the change would be to.
        step: What to do where it fires.
        source: Where the rule is from.
    """

    name: str
    kind: Kind
    step: str
    source: str

    def fired(self, message: str, **evidence: float) -> Signal:
        """Its facts are there."""
        return self._signal("fired", message, evidence)

    def silent(self, message: str, **evidence: float) -> Signal:
        """They were looked for and are not there."""
        return self._signal("silent", message, evidence)

    def not_measured(self, message: str) -> Signal:
        """Nothing to look at."""
        return self._signal("not measured", message, {})

    def _signal(self, state: State, message: str, evidence: Mapping[str, float]) -> Signal:
        return Signal(self.name, self.kind, state, message, self.step, dict(evidence), self.source)
