"""What a running study knows: it keeps every record, and says when to stop."""

import dataclasses
from collections.abc import Callable, Sequence

from dropkit.studies.followers.base import Follower
from dropkit.studies.judge import Judge
from dropkit.studies.result import TrialRecord, Verdict
from dropkit.studies.store import Store
from dropkit.studies.trial import Point, Trial


class TrialLog:
    """The log of trials that all run to their end: keeps what it hears, in the file too.

    Args:
        store: The file; None where there is none.
        metric: What every record must have.
        followers: Hear all that it hears, but for what the file holds already.
    """

    is_over = False

    def __init__(
        self, store: Store | None, metric: str, followers: Sequence[Follower] = ()
    ) -> None:
        self._store, self._metric = store, metric
        self._followers = followers
        self._n_points: dict[tuple[int, str], int] = {}
        self.records: dict[tuple[int, str], TrialRecord] = {}
        for record in store.records() if store is not None else ():
            self.keep(record)

    def began(self, trial: Trial) -> None:
        """A trial begins."""
        self._n_points[trial.replicate, trial.arm.name] = 0
        if self._store is not None:
            self._store.begin(trial.replicate, trial.arm.name)
        for follower in self._followers:
            follower.began(trial)

    def reported(self, trial: Trial, point: Point) -> None:
        """It reported `point`."""
        key = trial.replicate, trial.arm.name
        position = self._n_points.get(key, 0)
        self._n_points[key] = position + 1
        if self._store is not None:
            self._store.report(*key, position, point)
        for follower in self._followers:
            follower.reported(trial, point)

    def ended(self, record: TrialRecord) -> None:
        """It ended, one way or another."""
        if record.error is None and self._metric not in record.metrics:
            got = ", ".join(record.metrics) or "none"
            error = f"the fit returned no {self._metric}; got {got}"
            record = dataclasses.replace(record, error=error)
        if self._store is not None:
            self._store.end(record)
        for follower in self._followers:
            follower.ended(record)
        self.keep(record)

    def keep(self, record: TrialRecord) -> None:
        """Take it in, from the file or as it comes."""
        self.records[record.replicate, record.arm] = record


class Progress(TrialLog):
    """The log of a study: keeps what it hears, in the file too, and judges as it goes.

    Args:
        judge: Says when it is decided.
        store: The study's file; None where there is none.
        metric: What every record must have.
        on_record: Called with each record.
        on_verdict: Called with the verdict so far, whenever one more replicate is whole.
        followers: Hear all that it hears, but for what the file holds already.
    """

    def __init__(
        self,
        judge: Judge,
        store: Store | None,
        metric: str,
        on_record: Callable[[TrialRecord], None],
        on_verdict: Callable[[Verdict], None],
        followers: Sequence[Follower] = (),
    ) -> None:
        self._judge = judge
        self._on_record, self._on_verdict = on_record, on_verdict
        self._n_judged = 0
        super().__init__(store, metric, followers)

    def keep(self, record: TrialRecord) -> None:
        """Take it in, and look at the verdict where a replicate is whole by it."""
        super().keep(record)
        self._on_record(record)
        n_judged = self._judge.n_judged(self.records)
        if n_judged == self._n_judged:
            return
        self._n_judged = n_judged
        self.is_over = self._judge.is_decided(self.records)
        verdict = self._judge.so_far(self.records)
        if verdict is not None:
            self._on_verdict(verdict)
