"""What every runner is given, and what it tells."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
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


#: Runs trials in order until they are done or the log is over. Trials that run when the log is
#: over, or when the user interrupts, are told to stop and then ended; the log hears no more of them.
#: KeyboardInterrupt is raised when all that ran has ended.
Run = Callable[[Sequence[Trial], Log], None]


class Runner(Protocol):
    """Runs trials."""

    def opened(self, fit: Fit) -> AbstractContextManager[Run]:
        """A block in which trials of `fit` run; what it takes to run them lasts from call to call.

        Raises:
            OptionError: The fit cannot run there.
            MissingExtraError: An extra that it needs is not installed.
        """
