"""Trials one after another in this process."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.studies.runners.base import Log
from dropkit.studies.runners.one import run_trial
from dropkit.studies.trial import Fit, Point, Trial


@dataclass(frozen=True)
class Here:
    """Runs trials in this process; nothing of the fit need be picklable.

    Attributes:
        threads: Of torch, for each trial.
    """

    threads: int = 1

    def run(self, fit: Fit, trials: Sequence[Trial], log: Log) -> None:
        """See `dropkit.studies.runners.base.Runner`."""
        for trial in trials:
            if log.is_over:
                return
            log.began(trial)
            log.ended(run_trial(fit, trial, _Direct(trial, log), threads=self.threads))


@dataclass(frozen=True)
class _Direct:
    """A line within one process: nothing else happens while a trial runs."""

    trial: Trial
    log: Log

    def report(self, point: Point) -> None:
        self.log.reported(self.trial, point)

    def is_stopped(self) -> bool:
        return False
