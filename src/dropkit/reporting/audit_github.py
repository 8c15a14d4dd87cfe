"""An audit as annotations on GitHub: commands that a workflow step prints.

Source: docs.github.com, "Workflow commands for GitHub Actions"; what is escaped, and how, is what
the actions toolkit escapes (actions/toolkit, packages/core/src/command.ts).
"""

from pathlib import Path

from dropkit.auditing.audit import Audit
from dropkit.auditing.finding import Finding
from dropkit.reporting.findings import place_of, told

_COMMAND = {"error": "error", "warning": "warning", "info": "notice"}


def audit_github(audit: Audit, *, root: Path, default: str | None = None) -> str:
    """A line a finding; no line where there are none.

    Args:
        audit: What was found.
        root: Of the checkout; a finding in other people's code is shown at `default`.
        default: ``file`` or ``file:line``.
    """
    return "".join(_line(finding, root, default) + "\n" for finding in audit.findings)


def _line(finding: Finding, root: Path, default: str | None) -> str:
    place = place_of(finding, root, default)
    properties = {"title": f"{finding.code} {finding.name}"}
    if place is not None:
        properties = {"file": place.file, "line": str(place.line), **properties}
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{_COMMAND[finding.severity]} {listed}::{_data(told(finding, place))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
