"""The page of an audit as data: everything that the template shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.auditing.audit import Audit
from dropkit.auditing.finding import SEVERITIES, Finding
from dropkit.auditing.rule import Rule
from dropkit.reporting._verdict import Fact
from dropkit.reporting.findings import by_site, counted, of_site, plain

_HEADLINE = {"error": "Wired up wrong", "warning": "Worth a look", "info": "Notes only"}


@dataclass(frozen=True)
class FindingView:
    """A finding: texts, numbers, and how it is known."""

    severity: str
    code: str
    name: str
    message: str
    instead: str
    basis: str
    where: str | None
    evidence: tuple[Fact, ...]


@dataclass(frozen=True)
class SiteView:
    """A place in the model with its findings, the worst first."""

    name: str
    findings: tuple[FindingView, ...]


@dataclass(frozen=True)
class RuleView:
    """What a rule says of itself: sections of a heading and paragraphs each."""

    code: str
    name: str
    summary: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    source: str


@dataclass(frozen=True)
class AuditPage:
    """Everything on the page, top to bottom.

    Attributes:
        title: What was audited.
        worst: The worst severity found, ``"clean"`` without findings.
        headline: The same in words.
        sentence: How many findings, and of which kinds.
        facts: How it was done.
        sites: Where something was found.
        rules: Those that found something.
        not_seen: What could not be looked at, a sentence each.
        made_by: Which dropkit wrote the page.
    """

    title: str
    worst: str
    headline: str
    sentence: str
    facts: tuple[Fact, ...]
    sites: tuple[SiteView, ...]
    rules: tuple[RuleView, ...]
    not_seen: tuple[str, ...]
    made_by: str


def view_audit(audit: Audit, rules: Sequence[type[Rule]], *, title: str, version: str) -> AuditPage:
    """The page that shows `audit`, made under `rules`."""
    found = {finding.code for finding in audit.findings}
    sites = by_site(audit.findings)
    worst = next((s for s in SEVERITIES if any(f.severity == s for f in audit.findings)), "clean")
    n_sites = f"{len(sites)} place" + ("s" if len(sites) != 1 else "")
    return AuditPage(
        title=title,
        worst=worst,
        headline=_HEADLINE.get(worst, "No findings"),
        sentence=f"{counted(audit.findings)} at {n_sites} of the model."
        if found
        else f"{len(rules)} rules looked at this model and found nothing to say.",
        facts=(
            Fact("rules", str(len(rules))),
            Fact("findings", str(len(audit.findings))),
            Fact("took", f"{audit.seconds:.1f} s"),
        ),
        sites=tuple(
            SiteView(of_site(findings[0]), tuple(_finding(finding) for finding in findings))
            for findings in sites.values()
        ),
        rules=tuple(_rule(rule) for rule in rules if rule.code in found),
        not_seen=tuple(audit.not_seen),
        made_by=f"dropkit {version}",
    )


def _finding(finding: Finding) -> FindingView:
    return FindingView(
        severity=finding.severity,
        code=finding.code,
        name=finding.name,
        message=plain(finding.message),
        instead=plain(finding.instead),
        basis="seen in a run" if finding.proved else "read from structure",
        where=finding.where,
        evidence=tuple(
            Fact(name.replace("_", " "), _value(value))
            for name, value in finding.evidence.items()
            if value not in (None, [], ())
        ),
    )


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rule(rule: type[Rule]) -> RuleView:
    sections = tuple(
        (heading, tuple(plain(" ".join(part.split())) for part in text.split("\n\n")))
        for heading, text in rule.sections().items()
    )
    return RuleView(rule.code, rule.name, plain(rule.summary()), sections, rule.source)
