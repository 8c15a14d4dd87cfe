"""The formulas behind `Schedule`: frozen data that is checked when it is made."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any, get_args

import numpy as np

from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError


@dataclass(frozen=True)
class Constant:
    """Always `p`."""

    p: float

    def __post_init__(self) -> None:
        _set(self, p=_rate(self.p, "p"))

    def rate_at(self, step: int) -> float:
        """The drop rate at `step`."""
        del step
        return self.p


@dataclass(frozen=True)
class Linear:
    """From `start` at step 0 to `end` at step `steps`."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        _set(self, start=_rate(self.start, "start"), end=_rate(self.end, "end"))
        _set(self, steps=whole(self.steps, "steps", least=1))

    def rate_at(self, step: int) -> float:
        """The drop rate at `step`."""
        return _on_line(step, (0, self.steps), (self.start, self.end))


@dataclass(frozen=True)
class Early:
    """`p`, or a line from `p` to 0, in the first `steps` steps."""

    p: float
    steps: int
    is_linear: bool = False

    def __post_init__(self) -> None:
        _set(self, p=_rate(self.p, "p"), steps=whole(self.steps, "steps", least=1))

    def rate_at(self, step: int) -> float:
        """The drop rate at `step`."""
        if self.is_linear:
            return _on_line(step, (0, self.steps), (self.p, 0.0))
        return self.p if step < self.steps else 0.0


@dataclass(frozen=True)
class Late:
    """0, then `p` from step `start` on."""

    p: float
    start: int

    def __post_init__(self) -> None:
        _set(self, p=_rate(self.p, "p"), start=whole(self.start, "start"))

    def rate_at(self, step: int) -> float:
        """The drop rate at `step`."""
        return self.p if step >= self.start else 0.0


@dataclass(frozen=True)
class Curriculum:
    """``p * (1 - exp(-gamma * step))``."""

    p: float
    gamma: float

    def __post_init__(self) -> None:
        _set(self, p=_rate(self.p, "p"), gamma=_positive(self.gamma, "gamma"))

    def rate_at(self, step: int) -> float:
        """The drop rate at `step`."""
        return self.p * -math.expm1(-self.gamma * step)


@dataclass(frozen=True)
class Piecewise:
    """Straight lines between points."""

    points: Any  # a tuple of (step, rate) once it is made

    def __post_init__(self) -> None:
        try:
            given = self.points.items() if isinstance(self.points, Mapping) else self.points
            points = [(whole(step, "points"), rate) for step, rate in given]
        except (TypeError, ValueError):  # what is no pair, and what is no step
            points = []
        if not points or any(a >= b for (a, _), (b, _) in pairwise(points)):
            raise OptionError(
                "`points` must be one or more pairs of a step and a rate, the steps rising from "
                f"0 on; got {self.points!r}."
            )
        _set(self, points=tuple((step, _rate(rate, f"points[{step}]")) for step, rate in points))

    def rate_at(self, step: int) -> float:
        """The drop rate at `step`."""
        return _on_line(step, *zip(*self.points, strict=True))


#: Frozen settings with ``rate_at(step)``, for a step that is a whole number from 0 on.
Formula = Constant | Linear | Early | Late | Curriculum | Piecewise

#: The formulas by the names that `Schedule` has for them.
FORMULAS: dict[str, type[Formula]] = {kind.__name__.lower(): kind for kind in get_args(Formula)}


def _set(formula: Formula, **values: Any) -> None:
    """Give a frozen formula its checked values, while it is made."""
    for name, value in values.items():
        object.__setattr__(formula, name, value)


def _rate(p: object, name: str) -> float:
    threshold_from_rate(p, name=name)
    return float(p)  # type: ignore[arg-type]  # a number, or the line above had refused it


def _positive(number: object, name: str) -> float:
    is_number = isinstance(number, Real) and not isinstance(number, bool)
    positive = float(number) if is_number else math.nan  # type: ignore[arg-type]
    if not 0.0 < positive < math.inf:
        raise OptionError(f"`{name}` must be a finite number above 0; got {number!r}.")
    return positive


def whole(number: object, name: str, *, least: int = 0) -> int:
    """`number` as an int, if it is a whole number from `least` on."""
    try:
        whole = -1 if isinstance(number, bool) else operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        whole = -1
    if whole < least:
        raise OptionError(f"`{name}` must be a whole number from {least} on; got {number!r}.")
    return whole


def _on_line(step: int, steps: Sequence[int], rates: Sequence[float]) -> float:
    """The rate on the straight lines between points, and beyond them that of the outermost."""
    return float(np.interp(step, steps, rates))
