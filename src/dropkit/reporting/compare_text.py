"""Two recorded runs in the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dropkit.tracing.compare import Comparison, Contrast

#: A relative difference from which a number stands out.
_LARGE = 0.2


def compare_text(found: Comparison) -> RenderableType:
    """A row a number of a site, with what differs most marked."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("site", overflow="fold")
    table.add_column("number", no_wrap=True)
    for name in ("a", "b", "b - a"):
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for contrast in found.contrasts:
        site = contrast.site or "(the run)"
        table.add_row(
            Text("" if site == last else site),
            contrast.number.replace("_", " "),
            _said(contrast.a),
            _said(contrast.b),
            _difference(contrast),
        )
        last = site
    lines = [
        Text(f"only {which} has: {', '.join(sites)}", style="yellow")
        for which, sites in (("a", found.only_a), ("b", found.only_b))
        if sites
    ]
    steps = f"Means over the later half of the records, up to steps {found.steps[0]} (a) and "
    return Group(table, "", *lines, Text(f"{steps}{found.steps[1]} (b).", style="dim"))


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _difference(contrast: Contrast) -> Text:
    if contrast.difference is None:
        return Text("-")
    is_large = abs(contrast.relative or 0.0) >= _LARGE
    return Text(f"{contrast.difference:+.3g}", style="bold yellow" if is_large else "")
