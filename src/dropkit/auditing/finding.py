"""One thing that is wrong, or worth knowing, about the dropout of a model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]

#: The gravest first.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    Attributes:
        code: Of the rule, such as ``DRP301``.
        name: Of the rule; reads after "allow".
        severity: ``"error"``: outputs are wrong; ``"warning"``: most likely not what was meant;
            ``"info"``: worth knowing.
        site: Name of the site as `find_sites` gives it, or of a module; empty for the whole model.
        where: ``file:line`` in the model's own code; None where none was seen.
        message: One sentence with the numbers that were seen.
        evidence: The numbers by name: strings, numbers, booleans, and lists of these.
        instead: What to do.
        proved: True where a run showed it, False where it was read from the structure.
    """

    code: str
    name: str
    severity: Severity
    site: str
    where: str | None
    message: str
    evidence: Mapping[str, Any]
    instead: str
    proved: bool

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self) | {"evidence": dict(self.evidence)}
