"""A designed, paired experiment: from arms to a verdict."""

import contextlib
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

import dropkit
from dropkit.errors import OptionError
from dropkit.studies.decision import Terms, Until
from dropkit.studies.followers.base import Follower
from dropkit.studies.judge import Judge, Records
from dropkit.studies.plan import Arm, Json
from dropkit.studies.progress import Progress
from dropkit.studies.result import StudyResult, TrialRecord, Verdict
from dropkit.studies.runners.base import Runner
from dropkit.studies.runners.cluster import Cluster
from dropkit.studies.runners.here import Here
from dropkit.studies.runners.processes import Processes
from dropkit.studies.signals.evidence import Checks
from dropkit.studies.store import Store
from dropkit.studies.trial import Fit, Trial, innermost


class Study:
    """Compare arms over paired replicates.

    A replicate draws anew everything that chance decides, and all its arms share it, so that a
    difference between two arms is the arms' own doing.

    Args:
        fit: Trains and measures one `Trial`; returns metrics, lower is better for `metric`.
            Must be picklable where there are workers.
        arms: With unique names; the first is the baseline.
        replicates: How many, at least 1; at most so many where it ends when it is decided.
        until: ``"all"``: all replicates run, and the study is judged once, by Student's
            intervals. ``"decided"``: it is judged after each replicate, by intervals that hold
            at all looks at once, and ends when they decide. See `dropkit.studies.sequential`.
        seed: Root of everything that chance decides, in [0, 2**64).
        metric: Name of the compared metric.
        margin: Differences within +-`margin` are of no practical interest, >= 0.
        confidence: Of the intervals, in (0, 1).
        resample_ratio: Validation over training examples where replicates re-split one data
            set: the result then also says what holds for other data of the kind. 0 where each
            replicate draws new data. See `statistics.mean_with_interval`.
        workers: Processes; 0 runs in this one. With `ray`: most trials at once, 0 for all that
            there is room for.
        threads: Of torch in each trial, wherever it runs: with another number, sums round in
            another order, and the numbers would depend on where they were made.
        ray: Address of a Ray cluster to run on, or ``"local"`` for one on this machine.
        timeout_s: Seconds after which a trial is ended and counts as failed; None for no limit.
            Needs workers, for nothing can end what hangs in this process.
        db: SQLite file in which every trial and report is kept as it comes. A study that was cut
            off goes on there, and what has ended is not run again.
        checks: What is handed in beside the trials, for the signals that look at it.
        followers: Show the study while it runs: see `dropkit.studies.followers`.
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
        until: Until = "all",
        seed: int = 0,
        metric: str = "validation_loss",
        margin: float = 0.0,
        confidence: float = 0.95,
        resample_ratio: float = 0.0,
        workers: int = 0,
        threads: int = 1,
        ray: str | None = None,
        timeout_s: float | None = None,
        db: str | Path | None = None,
        checks: Checks | None = None,
        followers: Sequence[Follower] = (),
        title: str = "Study",
        about: Mapping[str, str | int | float] | None = None,
    ) -> None:
        names = Counter(arm.name for arm in arms)
        twice = [name for name, count in names.items() if count > 1]
        if len(arms) < 2 or twice:
            got = f"{twice[0]!r} twice" if twice else f"{len(arms)}"
            raise OptionError(f"`arms` must be at least two with different names; got {got}.")
        self.terms = Terms(metric, margin, confidence, resample_ratio, replicates, until)
        self.fit = fit
        self.arms = tuple(arms)
        self.seed = seed
        self.workers = workers
        self.threads = threads
        self.ray = ray
        self.timeout_s = timeout_s
        self.db = None if db is None else Path(db)
        self.checks = checks or Checks()
        self.followers = list(followers)
        self.title = title
        self.about = dict(about or {})
        self.check()

    def check(self) -> None:
        """Refuse choices that cannot be; called again by whoever changes them.

        Raises:
            OptionError: A choice is outside what it may be.
        """
        if self.threads < 1:
            raise OptionError(f"`threads` must be at least 1; got {self.threads}.")
        if self.workers < 0:
            raise OptionError(f"`workers` must be >= 0; got {self.workers}.")
        if self.timeout_s is not None:
            if not self.timeout_s > 0.0:
                raise OptionError(f"`timeout_s` must be above 0; got {self.timeout_s!r}.")
            if self.workers == 0 and self.ray is None:
                raise OptionError(
                    "`timeout_s` needs `workers` of at least 1, for nothing can end a trial that "
                    "hangs in this process; got workers 0."
                )

    def trials(self) -> list[Trial]:
        """All trials, replicate by replicate, so that a stopped study holds whole replicates."""
        return [
            Trial(arm, k, self.seed, self.timeout_s)
            for k in range(self.terms.replicates)
            for arm in self.arms
        ]

    def design(self) -> dict[str, Json]:
        """What makes it this study and no other: the identity of its file.

        The number of replicates belongs to it where the study is judged once; a watched one may
        be given more.
        """
        terms = self.terms
        judged = {"until": terms.until, "metric": terms.metric, "margin": terms.margin}
        parts = {
            "fit": _name_of(self.fit),
            "arms": [arm.to_dict() for arm in self.arms],
            "seed": self.seed,
            "threads": self.threads,
            "confidence": terms.confidence,
            **judged,
        }
        return parts if terms.until == "decided" else {**parts, "replicates": terms.replicates}

    def run(
        self,
        on_record: Callable[[TrialRecord], None] = lambda _: None,
        on_verdict: Callable[[Verdict], None] = lambda _: None,
        *,
        retry_failed: bool = False,
    ) -> StudyResult:
        """Run what is not done yet and judge it; Ctrl-C ends early with what is finished.

        Args:
            on_record: Called with each trial's record as it comes, those of the file first.
            on_verdict: Called with the verdict so far, in a study that ends when it is decided.
            retry_failed: Whether the trials that failed before are run again.

        Raises:
            StoreError: Another process, or another study, holds the file.
            MissingExtraError: An extra that it needs is not installed.
        """
        start = time.perf_counter()
        judge = Judge(self.arms, self.terms, self.checks)
        with contextlib.ExitStack() as stack:
            store = None
            if self.db is not None:
                store = stack.enter_context(contextlib.closing(Store(self.db, self.design())))
                if retry_failed:
                    store.forget_failed()
            progress = Progress(
                judge, store, self.terms.metric, on_record, on_verdict, self.followers
            )
            for follower in self.followers:
                stack.callback(follower.close)
            waiting = [
                trial
                for trial in self.trials()
                if (trial.replicate, trial.arm.name) not in progress.records
            ]
            was_stopped = False
            try:
                if waiting and not progress.is_over:
                    with self._runner().opened(self.fit) as run:
                        run(waiting, progress)
            except KeyboardInterrupt:
                was_stopped = True
        wall_s = time.perf_counter() - start
        return self._result(judge, progress.records, was_stopped=was_stopped, wall_s=wall_s)

    def result(self, records: Sequence[TrialRecord]) -> StudyResult:
        """Judge `records`, whatever is there of them."""
        judge = Judge(self.arms, self.terms, self.checks)
        return self._result(judge, {(r.replicate, r.arm): r for r in records})

    def _runner(self) -> Runner:
        if self.ray is not None:
            address = None if self.ray == "local" else self.ray
            return Cluster(address, self.workers, self.threads)
        return Processes(self.workers, self.threads) if self.workers else Here(self.threads)

    def _result(
        self, judge: Judge, records: Records, *, was_stopped: bool = False, wall_s: float = 0.0
    ) -> StudyResult:
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
        return judge.result(records, title=self.title, was_stopped=was_stopped, about=about)


def _name_of(fit: Fit) -> str:
    """What a fit is called, wherever its file lies."""
    fit = innermost(fit)
    return str(getattr(fit, "__qualname__", type(fit).__qualname__))
