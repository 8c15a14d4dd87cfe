"""What a release check found, as plain frozen data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """One line of the policy, held against one report.

    Attributes:
        rule: Section and key, such as ``"calibration.error"``.
        is_passed: Whether the report keeps to it.
        found: What the report says, in words.
        limit: What the policy says, in words.
        report: The file; None where none of this kind was handed over.
        next_step: What to do where it is not kept.
        source: Where the rule is from.
    """

    rule: str
    is_passed: bool
    found: str
    limit: str
    report: str | None
    next_step: str
    source: str


@dataclass(frozen=True)
class Release:
    """What `gate` says.

    Attributes:
        outcomes: In the order of the policy.
        unchecked: Reports that no rule of the policy asks about.
    """

    outcomes: Sequence[Outcome]
    unchecked: Sequence[str] = ()

    @property
    def is_open(self) -> bool:
        """Whether all is kept to: the model may be released."""
        return all(outcome.is_passed for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, and ``"is_open"``."""
        return {**asdict(self), "is_open": self.is_open}
