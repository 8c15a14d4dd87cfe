"""From records to a result, whatever is there of them."""

from collections.abc import Mapping, Sequence

from dropkit.studies.decision import Terms, Values, decision, differences
from dropkit.studies.looks import ANYTIME, ONCE, Look
from dropkit.studies.plan import Arm
from dropkit.studies.result import ArmResult, Difference, StudyResult, TrialRecord, Verdict
from dropkit.studies.signals.evidence import Checks
from dropkit.studies.trial import Point
from dropkit.studies.verdict import verdict

Records = Mapping[tuple[int, str], TrialRecord]


class Judge:
    """Judges the records of one study.

    A study that ends when it is decided looks after each replicate, in their order: a replicate
    that ended before an earlier one waits for it. So the verdict rests on the same replicates
    however many workers there were. It ends at the first look that decides, for good.

    Args:
        arms: The baseline first.
        terms: How to judge.
        checks: What the user handed in beside the trials.
    """

    def __init__(self, arms: Sequence[Arm], terms: Terms, checks: Checks) -> None:
        self._arms, self._terms, self._checks = arms, terms, checks
        self._n_seen = 0
        self._decided_at: int | None = None

    def n_judged(self, records: Records) -> int:
        """How many replicates, from the first on, the verdict may rest on so far."""
        n_ended = 0
        while n_ended < self._terms.replicates and all(
            (n_ended, arm.name) in records for arm in self._arms
        ):
            n_ended += 1
        return n_ended

    def is_decided(self, records: Records) -> bool:
        """Whether the study is to end; looks at each replicate once, so ask with ever more."""
        if self._terms.until == "all":
            return False
        for n in range(self._n_seen + 1, self.n_judged(records) + 1):
            self._n_seen = n
            if self._decided_at is None and self._decision(records, n) != "not enough evidence":
                self._decided_at = n
        return self._decided_at is not None

    def so_far(self, records: Records) -> Verdict | None:
        """What a watched study says now; None where it is to be judged once, at its end."""
        if self._terms.until == "all":
            return None
        complete = self._complete(records, self.n_judged(records))
        return self._verdict(complete, ANYTIME)

    def result(
        self,
        records: Records,
        *,
        title: str,
        was_stopped: bool,
        about: Mapping[str, str | int | float],
    ) -> StudyResult:
        """Judge `records`."""
        is_decided = self.is_decided(records)
        is_watched = self._terms.until == "decided"
        n_judged, most = self.n_judged(records), self._terms.replicates
        is_anytime = is_watched or n_judged < most
        look = ANYTIME if is_anytime else ONCE
        upto = (self._decided_at or n_judged) if is_watched else most
        complete = self._complete(records, upto)
        position = {arm.name: at for at, arm in enumerate(self._arms)}
        shown = upto if is_decided else most
        counted = [record for record in records.values() if record.replicate < shown]
        return StudyResult(
            title=title,
            metric=self._terms.metric,
            baseline=self._arms[0].name,
            margin=self._terms.margin,
            confidence=self._terms.confidence,
            resample_ratio=self._terms.resample_ratio,
            n_replicates=self._terms.replicates,
            n_complete=len(complete[self._arms[0].name]),
            was_stopped=was_stopped,
            arms=[_summary(arm, complete[arm.name]) for arm in self._arms],
            differences=self._differences(complete, look),
            verdict=self._verdict(complete, look),
            trials=sorted(counted, key=lambda r: (r.replicate, position[r.arm])),
            about=about,
            is_anytime=is_anytime,
            is_decided=is_decided,
        )

    def _decision(self, records: Records, n: int) -> str:
        complete = self._complete(records, n)
        return decision(self._differences(complete, ANYTIME), self._terms, ANYTIME)

    def _complete(self, records: Records, n: int) -> dict[str, list[TrialRecord]]:
        """Each arm's records of the replicates below `n` that every arm finished well."""
        good = [
            k
            for k in range(n)
            if all(
                (record := records.get((k, arm.name))) is not None and record.error is None
                for arm in self._arms
            )
        ]
        return {arm.name: [records[k, arm.name] for k in good] for arm in self._arms}

    def _differences(
        self, complete: Mapping[str, Sequence[TrialRecord]], look: Look
    ) -> tuple[Difference, ...]:
        if not complete[self._arms[0].name]:
            return ()
        values: Values = {
            arm: [record.metrics[self._terms.metric] for record in records]
            for arm, records in complete.items()
        }
        return differences(self._arms, values, self._terms, look)

    def _verdict(self, complete: Mapping[str, Sequence[TrialRecord]], look: Look) -> Verdict:
        found = self._differences(complete, look)
        return verdict(self._arms, complete, found, self._terms, look, self._checks)


def _summary(arm: Arm, records: Sequence[TrialRecord]) -> ArmResult:
    means = _mean([record.metrics for record in records])
    curve = [
        Point(moment[0].step, _mean([point.metrics for point in moment]))
        for moment in zip(*(record.points for record in records), strict=False)
    ]
    return ArmResult(arm, len(records), means, curve)


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of what every row has."""
    names = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}
