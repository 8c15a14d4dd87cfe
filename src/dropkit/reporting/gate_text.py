"""What a release check found, in the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dropkit.serving import Outcome, Release
from dropkit.serving.releasing import SECTIONS


def gate_text(release: Release) -> RenderableType:
    """A line a rule, then what to do about those that are not kept."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name in ("mark", "rule", "found", "limit", "report"):
        table.add_column(name, overflow="fold", no_wrap=name in {"mark", "rule"})
    for outcome in release.outcomes:
        mark = Text("pass", "green") if outcome.is_passed else Text("fail", "bold red")
        table.add_row(
            mark,
            Text(outcome.rule),
            Text(outcome.found),
            Text(outcome.limit),
            Text(outcome.report or "", "dim"),
        )
    failed = [outcome for outcome in release.outcomes if not outcome.is_passed]
    lines = [
        Text(f"Not checked, for the policy does not ask about it: {name}.", "yellow")
        for name in release.unchecked
    ]
    return Group(table, "", *lines, *_steps(failed), _said(release, len(failed)))


def gate_keys_text() -> RenderableType:
    """Each section with what writes its report, and under it the keys with what they hold."""
    lines = []
    for section in SECTIONS:
        lines.append(Text.assemble((f"[{section.name}]", "bold"), f"  {section.made_by}"))
        lines += [
            Text.assemble((f"  {limit.key:<18}", "cyan"), limit.about) for limit in section.limits
        ]
    return Group(*lines)


def _steps(failed: list[Outcome]) -> list[Text]:
    by_step: dict[str, list[str]] = {}
    for outcome in failed:
        by_step.setdefault(outcome.next_step, []).append(outcome.rule)
    return [Text(f"- {', '.join(rules)}: {step}") for step, rules in by_step.items()]


def _said(release: Release, n_failed: int) -> Text:
    n = len(release.outcomes)
    if release.is_open:
        return Text(f"Release: all {n} rules are kept.", "bold green")
    return Text(f"No release: {n_failed} of {n} rules are not kept.", "bold red")
