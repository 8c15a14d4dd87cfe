"""Learning curves: one small panel an arm, all on the same axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.reporting._scales import Scale, Tick, decimals_between, round_values, span_of
from dropkit.studies.result import ArmResult, StudyResult
from dropkit.studies.trial import Point

_TRAINING = "train_loss"


@dataclass(frozen=True)
class Frame:
    """Size of a panel and the edges of its plot, all in SVG units."""

    width: int = 320
    height: int = 206
    left: int = 44
    right: int = 312
    top: int = 10
    bottom: int = 176


_FRAME = Frame()


@dataclass(frozen=True)
class Spot:
    """One measured point: its place and what it says."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        path: SVG path data; broken where a value is not finite.
        spots: The points that it joins.
        lowest: The point with the lowest value.
    """

    path: str
    spots: tuple[Spot, ...]
    lowest: Spot


@dataclass(frozen=True)
class Panel:
    """One arm's curves.

    Attributes:
        name: The arm's.
        series: CSS class of its colour.
        is_baseline: Whether the others are compared with it.
        summary: The panel in a sentence.
        training: None where it was not measured.
        validation: None where it was not measured.
        ghost: The baseline's validation curve; None in its own panel.
    """

    name: str
    series: str
    is_baseline: bool
    summary: str
    training: Line | None
    validation: Line | None
    ghost: Line | None


@dataclass(frozen=True)
class Curves:
    """All panels and the axes that they share.

    Attributes:
        frame: Measures of each panel.
        panels: In the arms' order.
        baseline: Name of the arm whose curve is the ghost.
        metric: What the solid curves show, in words.
        x_ticks: Training steps.
        y_ticks: Loss.
        has_training: Whether any panel has a dashed curve.
    """

    frame: Frame
    panels: tuple[Panel, ...]
    baseline: str
    metric: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    has_training: bool


def view_curves(result: StudyResult, series: dict[str, str]) -> Curves | None:
    """The panels of `result`; None where no arm has a point with a finite loss."""
    solid = _solid_metric(result)
    points = [point for arm in result.arms for point in arm.curve]
    values = [point.metrics.get(key, math.nan) for point in points for key in (solid, _TRAINING)]
    across = span_of(float(point.step) for point in points)
    down = span_of(values)
    if across is None or down is None:
        return None
    room = 0.05 * (down[1] - down[0])
    x = Scale(*across, _FRAME.left + 6, _FRAME.right - 6)
    y = Scale(down[0] - room, down[1] + room, _FRAME.bottom, _FRAME.top)
    ghosts = {
        arm.arm.name: _line(arm, solid, x, y)
        for arm in result.arms
        if arm.arm.name == result.baseline
    }
    panels = tuple(
        _panel(arm, solid, ghosts.get(result.baseline), (x, y), series[arm.arm.name])
        for arm in result.arms
    )
    levels = round_values(y.low, y.high, 4)
    steps = [step for step in round_values(x.low, x.high, 4) if step == round(step)]
    decimals = decimals_between(levels)
    return Curves(
        frame=_FRAME,
        panels=panels,
        baseline=result.baseline,
        metric=wording.readable(solid),
        x_ticks=tuple(Tick(x.place(step), f"{step:,.0f}") for step in steps),
        y_ticks=tuple(Tick(y.place(level), wording.fixed(level, decimals)) for level in levels),
        has_training=any(panel.training is not None for panel in panels),
    )


def _solid_metric(result: StudyResult) -> str:
    """The study's metric where it was followed on the way, else the validation loss."""
    keys = {key for arm in result.arms for point in arm.curve for key in point.metrics}
    return result.metric if result.metric in keys else "validation_loss"


def _panel(
    arm: ArmResult, solid: str, ghost: Line | None, scales: tuple[Scale, Scale], series: str
) -> Panel:
    validation = _line(arm, solid, *scales)
    is_baseline = series == "series-0"
    lowest = f" Lowest point: {validation.lowest.label}." if validation else ""
    return Panel(
        name=arm.arm.name,
        series=series,
        is_baseline=is_baseline,
        summary=f"Losses of {arm.arm.name} during training.{lowest}",
        training=_line(arm, _TRAINING, *scales),
        validation=validation,
        ghost=None if is_baseline else ghost,
    )


def _line(arm: ArmResult, key: str, x: Scale, y: Scale) -> Line | None:
    values = [(point, point.metrics.get(key, math.nan)) for point in arm.curve]
    measured = [(point, value) for point, value in values if math.isfinite(value)]
    if not measured:
        return None
    name = wording.readable(key)
    spots = [
        Spot(
            x.place(point.step),
            y.place(value),
            f"{name} {wording.fixed(value)} at step {point.step:,}",
        )
        for point, value in measured
    ]
    index = min(range(len(measured)), key=lambda at: measured[at][1])
    return Line(_path(values, x, y), tuple(spots), spots[index])


def _path(values: Sequence[tuple[Point, float]], x: Scale, y: Scale) -> str:
    """Moves and lines through the finite values; a gap in the data is a gap in the line."""
    parts = []
    is_drawing = False
    for point, value in values:
        if math.isfinite(value):
            parts.append(f"{'L' if is_drawing else 'M'}{x.place(point.step)} {y.place(value)}")
        is_drawing = math.isfinite(value)
    return "".join(parts)
