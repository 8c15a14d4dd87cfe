"""An audit in the terminal."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from dropkit.auditing.audit import Audit
from dropkit.auditing.finding import Finding
from dropkit.reporting.findings import by_site, counted, of_site, plain

_STYLE = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def audit_text(audit: Audit) -> RenderableType:
    """The findings, grouped by site, for a rich console; one line where there are none."""
    return Group(*_blocks(audit))


def _blocks(audit: Audit) -> Iterator[RenderableType]:
    for findings in by_site(audit.findings).values():
        heading = Text(of_site(findings[0]), style="bold")
        wheres = list(dict.fromkeys(f.where for f in findings if f.where is not None))
        if len(wheres) == 1:
            heading.append(f"  {wheres[0]}", style="not bold dim")
        yield heading
        for finding in findings:
            yield from _finding(finding, shows_where=len(wheres) > 1)
        yield ""
    yield _foot(audit)
    for sentence in audit.not_seen:
        yield Text(f"Not seen: {sentence}", style="dim")


def _finding(finding: Finding, *, shows_where: bool) -> Iterator[RenderableType]:
    text = Text(finding.severity, style=_STYLE[finding.severity])
    text.append(f" {finding.code} {finding.name}", style="not bold dim")
    if shows_where and finding.where is not None:
        text.append(f"  {finding.where}", style="not bold dim")
    yield Padding(text, (0, 0, 0, 2), expand=False)
    yield Padding(Text(plain(finding.message)), (0, 0, 0, 4), expand=False)
    yield Padding(Text(plain(finding.instead), style="italic"), (0, 0, 0, 4), expand=False)


def _foot(audit: Audit) -> Text:
    took = f"({audit.seconds:.1f} s)"
    if not audit.findings:
        return Text(f"No findings {took}.", style="green")
    text = Text(counted(audit.findings), style="bold")
    text.append(f" {took}. Explained by: dropkit rule {audit.findings[0].code}", style="not bold")
    return text
