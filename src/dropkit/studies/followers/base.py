"""What a follower hears."""

from typing import Protocol

from dropkit.studies.result import TrialRecord
from dropkit.studies.trial import Point, Trial


class Follower(Protocol):
    """Hears of each trial as it runs, in the process of the study; not of those in its file."""

    def began(self, trial: Trial) -> None:
        """A trial begins; again, where a lost one is run again."""

    def reported(self, trial: Trial, point: Point) -> None:
        """It reported `point`."""

    def ended(self, record: TrialRecord) -> None:
        """It ended, one way or another."""

    def close(self) -> None:
        """The study is over, or was stopped."""
