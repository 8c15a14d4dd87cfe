"""What every runner is given, and what it tells."""

from collections.abc import Sequence
from typing import Protocol

from dropkit.studies.result import TrialRecord
from dropkit.studies.trial import Fit, Point, Trial

#: Seconds that a trial has, once told to stop, before it is ended.
GRACE_S = 1.0


class Log(Protocol):
    """Hears of each trial as it goes, in the process of the study, one call at a time."""

    @property
    def is_over(self) -> bool:
        """Whether no further trial is wanted."""

    def began(self, trial: Trial) -> None:
        """A trial begins; again, where a lost one is run again."""

    def reported(self, trial: Trial, point: Point) -> None:
        """It reported `point`."""

    def ended(self, record: TrialRecord) -> None:
        """It ended, one way or another."""


class Runner(Protocol):
    """Runs trials."""

    def run(self, fit: Fit, trials: Sequence[Trial], log: Log) -> None:
        """Run `trials` in order until they are done or the log is over.

        Trials that run when the log is over, or when the user interrupts, are told to stop and
        then ended; the log hears no more of them.

        Raises:
            KeyboardInterrupt: The user stopped it; all that ran has ended.
        """
