"""What a guard has seen, as plain data."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Action = Literal["raise", "count"]


@dataclass(frozen=True)
class GuardedSite:
    """A place that drew while it was guarded.

    Attributes:
        site: Name of the place.
        function: What drew.
        rate: Drop rate; None where it cannot be seen.
        where: ``file:line`` of the call in the model's own code; where that is torch's alone, of
            the call of the model.
        count: How often.
        first: When first, in UTC, as ISO 8601 has it.
        last: When last, likewise.
    """

    site: str
    function: str
    rate: float | None
    where: str | None
    count: int
    first: str
    last: str

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


@dataclass(frozen=True)
class GuardRecord:
    """What a guard has seen so far.

    Attributes:
        model: Class of the model.
        action: ``"raise"`` or ``"count"``.
        since: When the guard was set, in UTC, as ISO 8601 has it.
        until: When this was read, likewise.
        forwards: Calls of the model.
        in_training_mode: How many of them while the model was in training mode.
        with_draws: How many of them drew.
        moved_generator: How many of them drew nothing that was seen, and yet torch's generator
            stood elsewhere behind them: another thread drew, or code that ``torch.jit`` or C made.
        sites: The places that drew.
    """

    model: str
    action: str
    since: str
    until: str
    forwards: int
    in_training_mode: int
    with_draws: int
    moved_generator: int
    sites: tuple[GuardedSite, ...]

    @property
    def is_clean(self) -> bool:
        """Whether no mask was seen."""
        return not self.sites

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, with the format's name and version."""
        head = {"format": "dropkit guard", "version": 1, "is_clean": self.is_clean}
        return head | asdict(self)
