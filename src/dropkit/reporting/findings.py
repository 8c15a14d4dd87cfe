"""What all forms of an audit share: order, counts, and the line that a finding is shown at."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dropkit.auditing.finding import SEVERITIES, Finding, Severity


class Place(NamedTuple):
    """A line of a file of the project, the file relative to the project's root, with slashes."""

    file: str
    line: int


def by_site(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The findings of each site, worst first; the site with the worst finding first."""
    worst_first = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    sites: dict[str, list[Finding]] = {}
    for finding in worst_first:
        sites.setdefault(finding.site, []).append(finding)
    return sites


def counted(findings: Sequence[Finding]) -> str:
    """How many findings of each severity: ``"1 error, 2 warnings"``."""
    parts = []
    for severity in SEVERITIES:
        n = sum(finding.severity == severity for finding in findings)
        if n:
            plural = "" if severity == "info" or n == 1 else "s"
            parts.append(f"{n} {severity}{plural}")
    return ", ".join(parts)


def at_or_above(findings: Sequence[Finding], severity: Severity) -> list[Finding]:
    """The findings that are at least this grave."""
    grave = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return [finding for finding in findings if finding.severity in grave]


def of_site(finding: Finding) -> str:
    """The site in words; the whole model has the empty name."""
    return finding.site or "the whole model"


def place_of(finding: Finding, root: Path, default: str | None) -> Place | None:
    """Where forges show a finding: its line, if that is in the project.

    Args:
        finding: Whose line to show.
        root: Of the project.
        default: ``file`` or ``file:line`` for findings in other people's code, or without a line.
    """
    for where in (finding.where, default):
        match = re.fullmatch(r"(.+?)(?::(\d+))?", where or "")
        if match is not None:
            path = root / match[1]
            if path.is_file() and path.resolve().is_relative_to(root.resolve()):
                relative = path.resolve().relative_to(root.resolve())
                return Place(relative.as_posix(), int(match[2] or 1))
    return None


def plain(text: str) -> str:
    """Code in one backtick on each side, as people write it, where a docstring has two."""
    return text.replace("``", "`")


def told(finding: Finding, place: Place | None) -> str:
    """Site, message and remedy in one paragraph, with the line where it is not the place shown."""
    is_shown = place is not None and finding.where == f"{place.file}:{place.line}"
    at = "" if finding.where is None or is_shown else f" ({finding.where})"
    return f"{of_site(finding)}{at}: {plain(f'{finding.message} {finding.instead}')}"
