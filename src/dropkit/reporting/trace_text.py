"""A trace in the terminal."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dropkit.core.estimate import Estimate
from dropkit.reporting._trace_chain import cost_of
from dropkit.reporting._trace_risk import level_of, signs_of
from dropkit.reporting._trace_view import view_trace
from dropkit.tracing.result import SiteTrace, Trace

_STYLES = {"calm": "blue", "watch": "yellow", "high": "red"}
_BLOCKS = " ▏▎▍▌▋▊▉█"
_WIDTH = 12


def trace_text(trace: Trace) -> RenderableType:
    """A row a site from input to output, what asks for care, and what was not seen."""
    page = view_trace(trace)
    facts = " - ".join(f"{fact.name} {fact.value}" for fact in page.facts)
    parts: list[RenderableType] = [
        Text(page.title, style="bold"),
        Text(page.sentence),
        Text(facts, style="dim"),
        "",
    ]
    if trace.sites:
        parts += [_table(trace), ""]
    for row in trace.sites:
        for sign in signs_of(row):
            if sign.level == 2:
                parts.append(Text.assemble(("! ", "bold red"), f"{row.site.name}: {sign.text}"))
    parts += [Text(f"- {sentence}", style="dim") for sentence in trace.not_seen]
    return Group(*parts)


def _table(trace: Trace) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("site", overflow="fold")
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column(f"leverage on {trace.target}", no_wrap=True)
    table.add_column("95% interval", no_wrap=True)
    table.add_column("penalty", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    heights = [row.leverage.value for row in trace.sites if row.leverage]
    top = max([*heights, 1e-12])
    for row in trace.sites:
        cost = cost_of(row, trace)
        style = _STYLES[level_of(row)]
        table.add_row(
            Text(row.site.name or "(the model itself)"),
            "-" if row.rate is None else f"{row.rate:g}",
            Text.assemble((_bar(row, top), style), f" {_height(row)}"),
            _interval(row.leverage),
            "-" if row.penalty is None else f"{row.penalty.value:+.2g}",
            "-" if cost is None else f"{cost:.1%}",
            "-" if row.bytes_kept is None else escape(f"{row.bytes_kept:,}"),
        )
    return table


def _height(row: SiteTrace) -> str:
    return "-" if row.leverage is None else f"{row.leverage.value:.3f}"


def _interval(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.low:.3f} to {estimate.high:.3f}"


def _bar(row: SiteTrace, top: float) -> str:
    """A bar whose length is the root of the leverage, as heights are on the page."""
    share = 0.0 if row.leverage is None else (max(row.leverage.value, 0.0) / top) ** 0.5
    eighths = round(share * _WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    return f"{'█' * whole}{_BLOCKS[rest] if rest else ''}".ljust(_WIDTH)
