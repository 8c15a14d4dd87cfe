"""One arm in the picture of paired differences: its pairs, their mean and its intervals.

Across, places are percentages of the width, so that the picture fits any screen while its
letters keep their size. Down, they are pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.core.estimate import Estimate
from dropkit.reporting import _wording as wording
from dropkit.reporting._scales import Scale
from dropkit.studies.result import Difference, StudyResult

ROW_HEIGHT = 68
_BAR_Y, _DOTS_Y, _DOTS_REACH = 32, 50, 4.0


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


def complete_replicates(result: StudyResult) -> list[int]:
    """Numbers of the replicates that every arm finished, in order."""
    finished: dict[int, set[str]] = {}
    for trial in result.trials:
        if trial.error is None:
            finished.setdefault(trial.replicate, set()).add(trial.arm)
    arms = {arm.arm.name for arm in result.arms}
    return sorted(replicate for replicate, names in finished.items() if names >= arms)


def view_row(
    difference: Difference,
    *,
    series: str,
    top: int,
    scale: Scale,
    replicates: Sequence[int],
    decimals: int,
) -> ForestRow:
    """One arm's row.

    Args:
        difference: The arm against the baseline.
        series: CSS class of its colour.
        top: Where the row begins, in pixels.
        scale: From the metric to percent of the width.
        replicates: Numbers of the complete ones, a pair each.
        decimals: Of the differences in words.
    """
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
