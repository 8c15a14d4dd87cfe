"""The auditor found something wrong with how dropout is wired up."""

from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

ABOUT = About(
    name="audit-findings",
    kind="workflow",
    step="Mend what the audit found, then run the study again: its arms did not do what they say.",
    source="dropkit.audit; each finding names its own source",
)

_COUNTS = ("warning", "error")


def check(evidence: Evidence) -> Signal:
    """Fires where a finding is at least a warning."""
    findings = evidence.checks.findings
    if findings is None:
        return ABOUT.not_measured("The model was not audited: hand in dropkit.audit's findings.")
    grave = [finding for finding in findings if finding.severity in _COUNTS]
    if not grave:
        return ABOUT.silent("The audit found nothing wrong.", n_findings=len(findings))
    first = grave[0]
    more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
    return ABOUT.fired(
        f"The audit found {first.code}: {first.message.rstrip('.')}{more}.", n_findings=len(grave)
    )
