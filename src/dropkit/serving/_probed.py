"""What `probe` finds, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dropkit.serving._guarded import GuardRecord


@dataclass(frozen=True)
class Symptom:
    """One of the things that users feel, and what was measured of it.

    Attributes:
        name: ``"slower answers"``, ``"weaker grounding"``, ``"noisy retrieval"`` or ``"confusing
            hand-over"``.
        is_present: Whether the measurements show it; None where they cannot tell.
        sentence: What was measured.
        cause: What it comes from, as far as that was measured too; None where it was not.
        numbers: The measurements by name; rates and shares in [0, 1].
    """

    name: str
    is_present: bool | None
    sentence: str
    cause: str | None
    numbers: Mapping[str, float | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


@dataclass(frozen=True)
class Latency:
    """Seconds from request to answer.

    Attributes:
        p50_s: Half the answers took at most this.
        p90_s: Nine of ten.
        p99_s: 99 of 100.
        greatest_s: All.
    """

    p50_s: float
    p90_s: float
    p99_s: float
    greatest_s: float


@dataclass(frozen=True)
class Probe:
    """What `probe` found.

    Attributes:
        symptoms: The four, always in this order: slower answers, weaker grounding, noisy
            retrieval, confusing hand-over.
        latency: Of the service as it is.
        requests: How many different ones were asked.
        calls: How many answers came.
        failed: How many did not, or could not be read.
        failures: What went wrong then, each sentence once, five at most.
        guard: What the model behind the service drew; None where it was not given.
        seconds: How long it took.
    """

    symptoms: tuple[Symptom, ...]
    latency: Latency
    requests: int
    calls: int
    failed: int
    failures: tuple[str, ...]
    guard: GuardRecord | None
    seconds: float

    @property
    def present(self) -> tuple[Symptom, ...]:
        """The symptoms that the service has."""
        return tuple(one for one in self.symptoms if one.is_present)

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, with the format's name and version."""
        head = {"format": "dropkit probe", "version": 1}
        return head | asdict(self) | {"guard": self.guard and self.guard.to_dict()}
