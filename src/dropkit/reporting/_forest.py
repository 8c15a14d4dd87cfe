"""The picture of paired differences: a row for each arm, drawn along one axis.

Across, places are percentages of the width, so that the picture fits any screen while its
letters keep their size. Down, they are pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.reporting._scales import Scale, Tick, decimals_between, round_values, span_of
from dropkit.studies.result import Difference, StudyResult
from dropkit.studies.statistics import Estimate

_HEAD, _ROW, _FOOT = 40, 68, 52
_BAR_Y, _DOTS_Y, _DOTS_REACH = 32, 50, 4.0
#: An interval widens the picture by at most this many times what pairs and margin need, on each
#: side; wider ones are cut: two replicates give some beside which nothing else can be told apart.
_WIDEST = 1.2


@dataclass(frozen=True)
class Dot:
    """One pair of one arm: `x` in percent, `y` in pixels, and what it says."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Bar:
    """An interval from `start` to `end` in percent; an open end runs on beyond the picture."""

    start: float
    end: float
    is_open_left: bool
    is_open_right: bool
    label: str


@dataclass(frozen=True)
class ForestRow:
    """One arm against the baseline.

    Attributes:
        name: The arm's.
        series: CSS class of its colour.
        y: Height of its intervals, in pixels.
        top: Where the row begins, in pixels.
        mean: Place of the mean in percent; None where there is no pair.
        value: The mean in words.
        ends: Its interval in words.
        interval: For this arm alone; None where it has no ends.
        jointly: For all arms of the verdict at once; None where there is none.
        elsewhere: Like `jointly`, for another data set of this kind; None where there is none.
        dots: A pair each.
    """

    name: str
    series: str
    y: int
    top: int
    mean: float | None
    value: str
    ends: str
    interval: Bar | None
    jointly: Bar | None
    elsewhere: Bar | None
    dots: tuple[Dot, ...]


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
        _row(difference, series[difference.arm], index, scale, replicates, decimals)
        for index, difference in enumerate(result.differences)
    )
    bottom = _HEAD + _ROW * len(rows)
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
        row_height=_ROW,
        bottom=bottom,
        height=bottom + _FOOT,
        remarks=_remarks(rows),
    )


def complete_replicates(result: StudyResult) -> list[int]:
    """Numbers of the replicates that every arm finished, in order."""
    finished: dict[int, set[str]] = {}
    for trial in result.trials:
        if trial.error is None:
            finished.setdefault(trial.replicate, set()).add(trial.arm)
    arms = {arm.arm.name for arm in result.arms}
    return sorted(replicate for replicate, names in finished.items() if names >= arms)


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


def _row(
    difference: Difference,
    series: str,
    index: int,
    scale: Scale,
    replicates: Sequence[int],
    decimals: int,
) -> ForestRow:
    top = _HEAD + _ROW * index
    estimate = difference.estimate
    is_known = math.isfinite(estimate.value)
    return ForestRow(
        name=difference.arm,
        series=series,
        y=top + _BAR_Y,
        top=top,
        mean=scale.place(estimate.value) if is_known else None,
        value=wording.signed(estimate.value, decimals),
        ends=wording.interval(estimate, decimals),
        interval=_bar(estimate, scale, decimals, f"{difference.arm}, alone"),
        jointly=_bar(difference.jointly, scale, decimals, f"{difference.arm}, all arms at once"),
        elsewhere=_bar(difference.elsewhere, scale, decimals, f"{difference.arm}, other data"),
        dots=_dots(difference, top, scale, replicates, decimals),
    )


def _bar(estimate: Estimate | None, scale: Scale, decimals: int, name: str) -> Bar | None:
    if estimate is None or math.isinf(estimate.low) or math.isinf(estimate.high):
        return None
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return None
    return Bar(
        start=scale.place(estimate.low),
        end=scale.place(estimate.high),
        is_open_left=estimate.low < scale.low,
        is_open_right=estimate.high > scale.high,
        label=f"{name}: {wording.interval(estimate, decimals)}",
    )


def _dots(
    difference: Difference, top: int, scale: Scale, replicates: Sequence[int], decimals: int
) -> tuple[Dot, ...]:
    n = len(difference.pairs)
    # Without records of the trials the numbers are unknown, but the order is that of the pairs.
    numbers = replicates if len(replicates) == n else range(n)
    middle = (n - 1) / 2
    return tuple(
        Dot(
            x=scale.place(pair),
            y=round(top + _DOTS_Y + _DOTS_REACH * (index - middle) / (middle or 1.0), 2),
            label=f"{difference.arm}, replicate {number}: {wording.signed(pair, decimals)}",
        )
        for index, (number, pair) in enumerate(zip(numbers, difference.pairs, strict=True))
        if math.isfinite(pair)
    )


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
