"""A study in the terminal."""

import math

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dropkit.studies.result import ArmResult, Decision, Difference, StudyResult

_STYLE: dict[Decision, str] = {
    "helps": "green",
    "harms": "red",
    "no practical difference": "cyan",
    "not enough evidence": "yellow",
}

#: Metric: heading and decimals; each is a column where the study measured it.
_COLUMNS = {
    "validation_loss": ("loss", 3),
    "accuracy": ("acc.", 3),
    "gap": ("gap", 3),
    "ece": ("ECE", 3),
}


def study_text(result: StudyResult) -> RenderableType:
    """The table of arms and the verdict, for a rich console."""
    return Group(_table(result), "", _verdict(result))


def _table(result: StudyResult) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("arm", no_wrap=True)
    columns = [name for name in _COLUMNS if any(name in arm.means for arm in result.arms)]
    for name in columns:
        table.add_column(_COLUMNS[name][0], justify="right", no_wrap=True)
    table.add_column("diff.", justify="right", no_wrap=True)
    table.add_column(f"{result.confidence:.0%} interval", no_wrap=True)
    by_arm = {difference.arm: difference for difference in result.differences}
    for arm in result.arms:
        numbers = [_number(arm, name) for name in columns]
        table.add_row(escape(arm.arm.name), *numbers, *_difference(result, arm, by_arm))
    return table


def _number(arm: ArmResult, name: str) -> str:
    value = arm.means.get(name)
    return "-" if value is None else f"{value:.{_COLUMNS[name][1]}f}"


def _difference(
    result: StudyResult, arm: ArmResult, by_arm: dict[str, Difference]
) -> tuple[str, str]:
    if arm.arm.name == result.baseline:
        return "-", "baseline"
    difference = by_arm.get(arm.arm.name)
    if difference is None:
        return "-", ""
    estimate = difference.estimate
    interval = (
        f"{estimate.low:+.3f} to {estimate.high:+.3f}"
        if math.isfinite(estimate.low)
        else "needs two replicates"
    )
    return f"{estimate.value:+.3f}", interval


def _fired(result: StudyResult) -> list[str]:
    return [
        f"{signal.name}: {signal.message}"
        for signal in result.verdict.signals
        if signal.state == "fired"
    ]


def _verdict(result: StudyResult) -> Panel:
    verdict = result.verdict
    style = _STYLE[verdict.decision]
    lines = list(verdict.rests_on)
    if verdict.next_step is not None:
        lines += [*_fired(result), f"Next: {verdict.next_step.sentence}"]
    body = Text(verdict.sentence, style="bold")
    if lines:
        body.append("\n\n" + "\n".join(f"- {line}" for line in lines), style="not bold")
    return Panel(body, title=f"[bold]{verdict.decision}", title_align="left", border_style=style)
