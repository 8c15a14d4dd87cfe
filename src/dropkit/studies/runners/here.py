"""Trials one after another in this process."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropkit.studies.runners.base import Log, Run
from dropkit.studies.runners.one import run_trial
from dropkit.studies.trial import Fit, Point, Trial


@dataclass(frozen=True)
class Here:
    """Runs trials in this process; nothing of the fit need be picklable.

    Attributes:
        threads: Of torch, for each trial.
    """

    threads: int = 1

    @contextlib.contextmanager
    def opened(self, fit: Fit) -> Iterator[Run]:
        """See `dropkit.studies.runners.base.Runner`."""

        def run(trials: Sequence[Trial], log: Log) -> None:
            for trial in trials:
                if log.is_over:
                    return
                log.began(trial)
                log.ended(run_trial(fit, trial, _Direct(trial, log), threads=self.threads))

        yield run


@dataclass(frozen=True)
class _Direct:
    """A line within one process: nothing else happens while a trial runs."""

    trial: Trial
    log: Log

    def report(self, point: Point) -> None:
        self.log.reported(self.trial, point)

    def is_stopped(self) -> bool:
        return False
