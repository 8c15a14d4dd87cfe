"""A designed, paired experiment: from arms to a verdict."""

import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

import dropkit
from dropkit.errors import OptionError
from dropkit.studies.plan import Arm, Fit, Point, Trial
from dropkit.studies.result import ArmResult, Difference, StudyResult, TrialRecord
from dropkit.studies.runner import OnRecord, run_trials
from dropkit.studies.statistics import joint_confidence, mean_with_interval
from dropkit.studies.verdict import decide, judged_arms


class Study:
    """Compare arms over paired replicates.

    A replicate draws anew everything that chance decides, and all its arms share it, so that a
    difference between two arms is the arms' own doing.

    Args:
        fit: Trains and measures one `Trial`; returns metrics, lower is better for `metric`.
            Must be picklable where there are workers.
        arms: With unique names; the first is the baseline.
        replicates: How many, at least 1; an interval needs 2.
        seed: Root of everything that chance decides, in [0, 2**64).
        metric: Name of the compared metric.
        margin: Differences within +-`margin` are of no practical interest, >= 0.
        confidence: Of the intervals, in (0, 1).
        resample_ratio: Validation over training examples where replicates re-split one data
            set: the result then also says what holds for other data of the kind. 0 where each
            replicate draws new data. See `statistics.mean_with_interval`.
        workers: Processes of one thread each; 0 runs in this one.
        title: For the report.
        about: Facts for the report, such as the data's name and size.

    Raises:
        OptionError: Arms share a name or are fewer than two, or a number is outside its range.
    """

    def __init__(  # noqa: PLR0913 - a study has that many choices, all but two with defaults
        self,
        fit: Fit,
        arms: Sequence[Arm],
        *,
        replicates: int = 5,
        seed: int = 0,
        metric: str = "validation_loss",
        margin: float = 0.0,
        confidence: float = 0.95,
        resample_ratio: float = 0.0,
        workers: int = 0,
        title: str = "Study",
        about: Mapping[str, str | int | float] | None = None,
    ) -> None:
        names = Counter(arm.name for arm in arms)
        twice = [name for name, count in names.items() if count > 1]
        if len(arms) < 2 or twice:
            got = f"{twice[0]!r} twice" if twice else f"{len(arms)}"
            raise OptionError(f"`arms` must be at least two with different names; got {got}.")
        if replicates < 1:
            raise OptionError(f"`replicates` must be at least 1; got {replicates}.")
        if not margin >= 0.0:
            raise OptionError(f"`margin` must be >= 0; got {margin!r}.")
        mean_with_interval([0.0], confidence=confidence, resample_ratio=resample_ratio)
        self.fit = fit
        self.arms = tuple(arms)
        self.replicates = replicates
        self.seed = seed
        self.metric = metric
        self.margin = margin
        self.confidence = confidence
        self.resample_ratio = resample_ratio
        self.workers = workers
        self.title = title
        self.about = dict(about or {})

    def trials(self) -> list[Trial]:
        """All trials, replicate by replicate, so that a stopped study holds whole replicates."""
        return [Trial(arm, k, self.seed) for k in range(self.replicates) for arm in self.arms]

    def run(self, on_record: OnRecord = lambda _: None) -> StudyResult:
        """Run all trials and judge them; Ctrl-C ends early with what is finished.

        Args:
            on_record: Called with each trial's record as it comes.
        """
        start = time.perf_counter()
        records: list[TrialRecord] = []

        def keep(record: TrialRecord) -> None:
            records.append(record)
            on_record(record)

        was_stopped = False
        try:
            run_trials(self.fit, self.trials(), keep, workers=self.workers)
        except KeyboardInterrupt:
            was_stopped = True
        return self.result(records, was_stopped=was_stopped, wall_s=time.perf_counter() - start)

    def result(
        self, records: Sequence[TrialRecord], *, was_stopped: bool = False, wall_s: float = 0.0
    ) -> StudyResult:
        """Judge `records`, whatever is there of them."""
        good = {(r.replicate, r.arm): r for r in records if r.error is None}
        complete = [
            k for k in range(self.replicates) if all((k, arm.name) in good for arm in self.arms)
        ]
        by_arm = {arm.name: [good[k, arm.name] for k in complete] for arm in self.arms}
        arms = [_summary(arm, by_arm[arm.name]) for arm in self.arms]
        differences = self._differences(by_arm) if complete else []
        about = {
            **self.about,
            "seed": self.seed,
            "workers": self.workers,
            "wall_s": round(wall_s, 1),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "dropkit": dropkit.__version__,
        }
        return StudyResult(
            title=self.title,
            metric=self.metric,
            baseline=self.arms[0].name,
            margin=self.margin,
            confidence=self.confidence,
            resample_ratio=self.resample_ratio,
            n_replicates=self.replicates,
            n_complete=len(complete),
            was_stopped=was_stopped,
            arms=arms,
            differences=differences,
            verdict=decide(
                self.arms,
                by_arm,
                differences,
                metric=self.metric,
                margin=self.margin,
                confidence=self.confidence,
            ),
            trials=sorted(records, key=lambda r: (r.replicate, self._position(r.arm))),
            about=about,
        )

    def _position(self, name: str) -> int:
        return next(i for i, arm in enumerate(self.arms) if arm.name == name)

    def _differences(self, by_arm: Mapping[str, Sequence[TrialRecord]]) -> list[Difference]:
        judged = {arm.name for arm in judged_arms(self.arms)}
        jointly = joint_confidence(self.confidence, len(judged))
        base = [record.metrics[self.metric] for record in by_arm[self.arms[0].name]]
        found = []
        for arm in self.arms[1:]:
            values = [record.metrics[self.metric] for record in by_arm[arm.name]]
            pairs = tuple(value - b for value, b in zip(values, base, strict=True))
            own = mean_with_interval(pairs, confidence=self.confidence)
            joint = elsewhere = None
            if arm.name in judged:
                joint = mean_with_interval(pairs, confidence=jointly)
                if self.resample_ratio > 0:
                    elsewhere = mean_with_interval(
                        pairs, confidence=jointly, resample_ratio=self.resample_ratio
                    )
            found.append(Difference(arm.name, own, joint, elsewhere, pairs))
        return found


def _summary(arm: Arm, records: Sequence[TrialRecord]) -> ArmResult:
    means = _mean([record.metrics for record in records])
    curve = [
        Point(moment[0].step, _mean([point.metrics for point in moment]))
        for moment in zip(*(record.points for record in records), strict=False)
    ]
    return ArmResult(arm, len(records), means, curve)


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = rows[0].keys() if rows else ()
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}
