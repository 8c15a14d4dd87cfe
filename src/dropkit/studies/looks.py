"""When a study's numbers are looked at, and how wide that makes its intervals."""

import math
from typing import Protocol

from dropkit.studies import sequential
from dropkit.studies.special import student_quantile


class Look(Protocol):
    """How far an interval reaches from the mean of paired differences.

    Both methods take the number of differences and the share `alpha` of studies that may be wrong,
    and return standard deviations of a difference; infinity where nothing can be said.
    """

    def reach(self, n: int, alpha: float) -> float:
        """To either side of the mean."""

    def reach_one_sided(self, n: int, alpha: float) -> float:
        """To one side, where the other is open."""


class _Once:
    """One look, at a number of replicates that was chosen before: Student's intervals."""

    def reach(self, n: int, alpha: float) -> float:
        return self.reach_one_sided(n, alpha / 2.0)

    def reach_one_sided(self, n: int, alpha: float) -> float:
        return student_quantile(1.0 - alpha, n - 1) / math.sqrt(n) if n > 1 else math.inf


class _Anytime:
    """Any number of looks, and an end whenever one likes: a confidence sequence."""

    def reach(self, n: int, alpha: float) -> float:
        return sequential.reach(n, alpha)

    def reach_one_sided(self, n: int, alpha: float) -> float:
        return sequential.reach_one_sided(n, alpha)


#: For a study that runs all of its replicates and is judged then.
ONCE: Look = _Once()

#: For a study that is watched, and ends when it likes: `dropkit.studies.sequential`.
ANYTIME: Look = _Anytime()
