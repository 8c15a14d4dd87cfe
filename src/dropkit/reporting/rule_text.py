"""Rules in words: one as a page of Markdown, all as a table."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dropkit.auditing.rule import Rule
from dropkit.reporting.findings import plain


def rule_text(rule: type[Rule]) -> str:
    """The whole page of `rule`, ending in a line end."""
    sections = "".join(f"## {heading}\n\n{text}\n\n" for heading, text in rule.sections().items())
    return plain(
        f"# {rule.code} {rule.name}\n\n"
        f"{rule.summary()}\n\n"
        f"Severity: {rule.severity}. Family: {rule.family()}. Since: {rule.since}.\n\n"
        f"{sections}"
        f"## Source\n\n{rule.source}\n"
    )


def rules_text(rules: Sequence[type[Rule]]) -> RenderableType:
    """A table of rules, for a rich console."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("code", "name", "severity", "family"):
        table.add_column(heading, no_wrap=True)
    table.add_column("finds", overflow="fold")
    for rule in rules:
        cells = (rule.code, rule.name, rule.severity, rule.family(), plain(rule.summary()))
        table.add_row(*map(Text, cells))
    return table
