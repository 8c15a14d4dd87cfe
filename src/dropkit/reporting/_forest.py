"""The picture of paired differences: a row for each arm, drawn along one axis."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.reporting._forest_row import ROW_HEIGHT, ForestRow, complete_replicates, view_row
from dropkit.reporting._scales import Scale, Tick, decimals_between, round_values, span_of
from dropkit.studies.result import StudyResult

_HEAD, _FOOT = 40, 52
#: An interval widens the picture by at most this many times what pairs and margin need, on each
#: side; wider ones are cut: two replicates give some beside which nothing else can be told apart.
_WIDEST = 1.2


@dataclass(frozen=True)
class Note:
    """A text in the picture at `x` percent; `anchor` as SVG has it, `shift` in pixels."""

    x: float
    anchor: str
    shift: float
    text: str


@dataclass(frozen=True)
class Forest:
    """All that the picture shows.

    Attributes:
        summary: The picture in a sentence, for those who cannot see it.
        axis: What the axis measures.
        level: The intervals' confidence in words.
        rows: Top to bottom.
        ticks: In percent.
        zero: Place of no difference, in percent.
        zero_note: Names the zero line.
        band: Start and width of the band of no practical difference, in percent; None without
            a margin.
        band_note: Names the band.
        has_interval: Whether any row has one.
        has_jointly: Whether any row has one for all arms at once.
        has_elsewhere: Whether any row has one for other data.
        head: Where the rows begin, in pixels.
        row_height: Of each, in pixels.
        bottom: Where the rows end, in pixels.
        height: Of the whole, in pixels.
        remarks: What a reader must know besides, a sentence each.
    """

    summary: str
    axis: str
    level: str
    rows: tuple[ForestRow, ...]
    ticks: tuple[Tick, ...]
    zero: float
    zero_note: Note
    band: tuple[float, float] | None
    band_note: Note
    has_interval: bool
    has_jointly: bool
    has_elsewhere: bool
    head: int
    row_height: int
    bottom: int
    height: int
    remarks: tuple[str, ...]


def view_forest(result: StudyResult, series: dict[str, str], decimals: int) -> Forest | None:
    """The picture of `result`'s differences; None where no pair is finite."""
    scale = _scale(result)
    if scale is None:
        return None
    replicates = complete_replicates(result)
    rows = tuple(
        view_row(
            difference,
            series=series[difference.arm],
            top=_HEAD + ROW_HEIGHT * index,
            scale=scale,
            replicates=replicates,
            decimals=decimals,
        )
        for index, difference in enumerate(result.differences)
    )
    bottom = _HEAD + ROW_HEIGHT * len(rows)
    values = round_values(scale.low, scale.high)
    tick_decimals = decimals_between(values)
    metric = wording.readable(result.metric)
    start, end = scale.place(-result.margin), scale.place(result.margin)
    zero = scale.place(0.0)
    spoken = "; ".join(f"{row.name}: {row.value} {row.ends}" for row in rows)
    return Forest(
        summary=f"Mean difference in {metric} to {result.baseline} with its interval. {spoken}.",
        axis=f"{metric} minus baseline (left is better)",
        level=wording.percentage(result.confidence),
        rows=rows,
        ticks=tuple(Tick(scale.place(at), wording.signed(at, tick_decimals)) for at in values),
        zero=zero,
        zero_note=_zero_note(zero, result.baseline),
        band=(start, round(end - start, 2)) if result.margin > 0.0 else None,
        band_note=_band_note(start, zero, end),
        has_interval=any(row.interval is not None for row in rows),
        has_jointly=any(row.jointly is not None for row in rows),
        has_elsewhere=any(row.elsewhere is not None for row in rows),
        head=_HEAD,
        row_height=ROW_HEIGHT,
        bottom=bottom,
        height=bottom + _FOOT,
        remarks=_remarks(rows),
    )


def _scale(result: StudyResult) -> Scale | None:
    core = [pair for difference in result.differences for pair in difference.pairs]
    if span_of(core) is None:
        return None
    low, high = span_of([*core, 0.0, -result.margin, result.margin]) or (0.0, 0.0)
    reach = _WIDEST * (high - low)
    estimates = [
        estimate
        for difference in result.differences
        for estimate in (difference.estimate, difference.jointly, difference.elsewhere)
        if estimate is not None and low - reach <= estimate.low <= estimate.high <= high + reach
    ]
    ends = [end for estimate in estimates for end in (estimate.low, estimate.high)]
    low, high = min([low, *ends]), max([high, *ends])
    room = 0.04 * (high - low)
    return Scale(low - room, high + room, 1.0, 99.0)


def _zero_note(zero: float, baseline: str) -> Note:
    longest = 28
    is_long = len(baseline) > longest
    name = baseline[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}" if is_long else baseline
    near, far = 24.0, 76.0  # A text centred closer to an edge would be cut on a phone.
    anchor = "start" if zero < near else "end" if zero > far else "middle"
    return Note(zero, anchor, 0.0, f"same as {name}")


def _band_note(start: float, zero: float, end: float) -> Note:
    """Beside the band or, where it leaves no room on a phone, beside the zero line."""
    text, gap, enough = "no practical difference", 6.0, 40.0
    has_room = max(start, 100.0 - end) >= enough
    left, right = (start, end) if has_room else (zero, zero)
    if 100.0 - right >= left:
        return Note(right, "start", gap, text)
    return Note(left, "end", -gap, text)


def _remarks(rows: Sequence[ForestRow]) -> tuple[str, ...]:
    remarks = []
    if any(row.dots and row.interval is None for row in rows):
        remarks.append(
            "One replicate gives no interval: how far the next would differ cannot be told from it."
        )
    bars = [bar for row in rows for bar in (row.interval, row.jointly, row.elsewhere)]
    if any(bar is not None and (bar.is_open_left or bar.is_open_right) for bar in bars):
        remarks.append("An arrow marks an interval that runs on beyond the picture.")
    return tuple(remarks)
