"""A trace's page as data: everything that the template shows, and nothing that it must compute."""

from dataclasses import dataclass

from dropkit.core.estimate import Estimate
from dropkit.reporting import _wording as wording
from dropkit.reporting._table import Cell, Column
from dropkit.reporting._trace_chain import Chain, cost_of, view_chain
from dropkit.reporting._trace_risk import LEVELS, Sign, level_of, signs_of
from dropkit.reporting._verdict import Fact
from dropkit.tracing._signals import Histogram
from dropkit.tracing.result import SiteTrace, Trace

_RISKS = {"calm": "none seen", "watch": "watch", "high": "high"}


@dataclass(frozen=True)
class Bar:
    """One bin before and after dropout: place and heights, in SVG units."""

    x: float
    width: float
    before: float
    after: float


@dataclass(frozen=True)
class Bars:
    """What enters and leaves a site; the bin that holds most reaches the top."""

    bars: tuple[Bar, ...]
    low: str
    high: str


@dataclass(frozen=True)
class SiteView:
    """One site's own part of the page.

    Attributes:
        anchor: Where links lead.
        name: Of the site.
        kind: What drops there.
        where: File and number of the line of the model's code that calls it.
        code: That line; empty where there is none.
        level: Of risk; `risk` in words.
        risk: See `level`.
        signs: Reasons for care.
        leverage: What its mask does, names and values.
        passing: What passes through it.
        cost: What it takes.
        bars: None where it could not be looked at.
        replay: How to draw its mask again.
    """

    anchor: str
    name: str
    kind: str
    where: str
    code: str
    level: str
    risk: str
    signs: tuple[Sign, ...]
    leverage: tuple[Fact, ...]
    passing: tuple[Fact, ...]
    cost: tuple[Fact, ...]
    bars: Bars | None
    replay: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A table row: where its name leads, its name and risk, and its cells."""

    anchor: str
    name: str
    level: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class TracePage:
    """Everything on the page, top to bottom."""

    title: str
    sentence: str
    facts: tuple[Fact, ...]
    chains: tuple[Chain, ...]
    levels: tuple[tuple[str, str], ...]
    not_seen: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sites: tuple[SiteView, ...]
    first: str
    about: tuple[Fact, ...]
    made_by: str
    level: str


def view_trace(trace: Trace) -> TracePage:
    """The page that shows `trace`."""
    chains = [
        view_chain(trace, "On the loss", lambda row: row.total, has_names=False),
        view_chain(trace, "On the output", lambda row: row.output_total),
    ]
    ranked = sorted(range(len(trace.sites)), key=lambda at: -_height(trace.sites[at]))
    about = [Fact(*wording.fact(key, value)) for key, value in trace.about.items()]
    return TracePage(
        title=f"Dropout in {trace.about.get('model', 'the model')}, from input to output",
        sentence=_sentence(trace, ranked),
        facts=_facts(trace),
        chains=tuple(chain for chain in chains if chain is not None),
        levels=tuple((level, f"risk: {_RISKS[level]}") for level in LEVELS),
        not_seen=trace.not_seen,
        columns=_columns(),
        rows=tuple(_row(at, row, trace) for at, row in enumerate(trace.sites)),
        sites=tuple(_site(at, row, trace) for at, row in enumerate(trace.sites)),
        first=f"site-{ranked[0]}" if ranked else "",
        about=tuple(about),
        made_by=f"dropkit {trace.about.get('dropkit', '')}".strip(),
        level=wording.percentage(trace.confidence),
    )


def _height(row: SiteTrace) -> float:
    return row.leverage.value if row.leverage else 0.0


def _sentence(trace: Trace, ranked: list[int]) -> str:
    if not ranked:
        return "This model draws no mask in training."
    row = trace.sites[ranked[0]]
    if row.leverage is None or not row.leverage.value:
        return "No mask of this model moves its result."
    return (
        f"{row.site.name} has most leverage: if all other masks were known, "
        f"{row.leverage.value:.0%} of the {trace.target}'s variance would be left "
        f"({row.leverage.low:.0%} to {row.leverage.high:.0%})."
    )


def _facts(trace: Trace) -> tuple[Fact, ...]:
    facts = [
        Fact("sites", str(len(trace.sites))),
        Fact("samples", f"{trace.samples}: {trace.blocks} pairs of masks a site"),
        Fact("runs", f"{trace.runs} in {trace.wall_s:.1f} s"),
    ]
    if trace.loss is not None:
        spread = (
            ""
            if trace.loss_deviation is None
            else f" \N{PLUS-MINUS SIGN} {trace.loss_deviation:.2g}"
        )
        facts.append(Fact("loss over sub-networks", f"{trace.loss:.4g}{spread}"))
    if trace.disagreement is not None:
        facts.append(Fact("two sub-networks disagree on", f"{trace.disagreement:.1%}"))
    return tuple(facts)


def _columns() -> tuple[Column, ...]:
    numbers = (
        "Place",
        "Rate",
        "Leverage on loss",
        "On output",
        "Penalty",
        "Predictions changed",
        "Share of time",
        "Bytes kept, torch's",
        "Risk",
    )
    return (Column("Site", is_number=False), *(Column(name, is_number=True) for name in numbers))


def _row(at: int, row: SiteTrace, trace: Trace) -> Row:
    cost, level = cost_of(row, trace), level_of(row)
    cells = (
        Cell(str(at + 1), str(at)),
        _cell(row.rate, "{:g}"),
        _estimate(row.total),
        _estimate(row.output_total),
        _estimate(row.penalty, is_signed=True),
        _cell(row.flips, "{:.1%}"),
        _cell(cost, "{:.1%}"),
        _bytes(row),
        Cell(_RISKS[level], str(LEVELS.index(level))),
    )
    return Row(f"site-{at}", row.site.name, level, cells)


def _cell(value: float | None, form: str) -> Cell:
    return Cell(wording.DASH, "") if value is None else Cell(form.format(value), repr(float(value)))


def _bytes(row: SiteTrace) -> Cell:
    if row.bytes_kept is None:
        return Cell(wording.DASH, "")
    return Cell(f"{row.bytes_kept:,}", repr(row.bytes_kept), f"{row.bytes_kept_torch or 0:,}")


def _estimate(estimate: Estimate | None, *, is_signed: bool = False) -> Cell:
    if estimate is None:
        return Cell(wording.DASH, "")
    form = "{:+.2g}" if is_signed else "{:.3f}"
    value, low, high = (
        form.format(number).replace("-", wording.MINUS)
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return Cell(value, repr(estimate.value), f"{low} to {high}")


def _value(estimate: Estimate | None, *, is_signed: bool = False) -> str:
    cell = _estimate(estimate, is_signed=is_signed)
    return f"{cell.text} ({cell.detail})" if cell.detail else cell.text


def _said(value: float | None, form: str) -> str:
    return wording.DASH if value is None else form.format(value)


def _site(at: int, row: SiteTrace, trace: Trace) -> SiteView:
    level = level_of(row)
    address = row.address
    replay: tuple[str, ...] = ()
    if address is not None:
        step = f"masks_at(seed={trace.seed}, step=0, sample=0)"
        replay = (step, f"Address(key={address.key:#x}, stream={address.stream:#x})")
    return SiteView(
        anchor=f"site-{at}",
        name=row.site.name or "(the model itself)",
        kind=row.site.kind,
        where=row.site.where or "inside torch",
        code=row.code or "",
        level=level,
        risk=_RISKS[level],
        signs=signs_of(row),
        leverage=(
            Fact("loss, with others", _value(row.total)),
            Fact("loss, by itself", _value(row.first_order)),
            Fact("output, with others", _value(row.output_total)),
            Fact("output, by itself", _value(row.output_first_order)),
            Fact("penalty on the loss", _value(row.penalty, is_signed=True)),
            Fact("predictions changed", _said(row.flips, "{:.1%}")),
            Fact("one unit silent", _said(row.ablation, "{:+.3g}")),
            Fact("two units, beyond that", _said(row.co_adaptation, "{:+.3g}")),
        ),
        passing=(
            Fact("rate, asked", _said(row.rate, "{:g}")),
            Fact("rate, measured", _said(row.measured_rate, "{:.4f}")),
            Fact(
                "shape", " \N{MULTIPLICATION SIGN} ".join(map(str, row.shape or ())) or wording.DASH
            ),
            Fact("calls", _said(row.site.calls, "{:d}")),
            Fact("mean before, after", _pair(row.mean_in, row.mean_out)),
            Fact("variance before, after", _pair(row.variance_in, row.variance_out)),
            Fact("gradient norm kept", _said(row.gradient_kept, "{:.1%}")),
            Fact("saturated", _said(row.saturation, "{:.1%}")),
            Fact("units no sample kept", _said(row.never_kept, "{:.1%}")),
            Fact("correlation of units", _said(row.correlation, "{:.2f}")),
            Fact(
                "variance into batch norm",
                _said(row.variance_ratio, "\N{MULTIPLICATION SIGN}{:.2f}"),
            ),
        ),
        cost=(
            Fact("of a step's time", _said(cost_of(row, trace), "{:.2%}")),
            Fact("forward, torch's", _shares(row.forward_share, row.forward_share_torch)),
            Fact("backward, torch's", _shares(row.backward_share, row.backward_share_torch)),
            Fact("bytes kept", _said(row.bytes_kept, "{:,}")),
            Fact("bytes kept, torch's", _said(row.bytes_kept_torch, "{:,}")),
        ),
        bars=_bars(row.histogram),
        replay=replay,
    )


def _pair(one: float | None, other: float | None) -> str:
    return f"{_said(one, '{:.3g}')}, {_said(other, '{:.3g}')}"


def _shares(ours: float | None, theirs: float | None) -> str:
    return f"{_said(ours, '{:.2%}')}, {_said(theirs, '{:.2%}')}"


def _bars(histogram: Histogram | None) -> Bars | None:
    if histogram is None:
        return None
    # the pile at 0 would dwarf all else: roots of counts
    before, after = ([n**0.5 for n in counts] for counts in (histogram.before, histogram.after))
    peak = max(*before, *after, 1.0)
    width = 280.0 / len(before)
    return Bars(
        tuple(
            Bar(
                round(at * width, 2),
                round(width, 2),
                round(64 * a / peak, 1),
                round(64 * b / peak, 1),
            )
            for at, (a, b) in enumerate(zip(before, after, strict=True))
        ),
        f"{histogram.low:.3g}",
        f"{histogram.high:.3g}",
    )
