"""Drop rates that change over the steps of training: pure functions, held as plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from dropkit.errors import OptionError
from dropkit.nn import _formulas
from dropkit.nn._formulas import FORMULAS, Formula


@dataclass(frozen=True, repr=False)
class Schedule:
    """A pure function ``schedule(step) -> rate``, made by one of the names below.

    Frozen data: equal schedules compare equal, and `to_dict` and `from_dict` lead to JSON and back.
    A step is whatever the caller counts, from 0; papers count updates of the weights.

    >>> warm_up = Schedule.linear(0.0, 0.3, steps=3)
    >>> [round(warm_up(step), 2) for step in range(5)]
    [0.0, 0.1, 0.2, 0.3, 0.3]
    >>> Schedule.from_dict(warm_up.to_dict()) == warm_up
    True
    """

    _formula: Formula

    def __call__(self, step: int) -> float:
        """The drop rate at `step`, in [0, 1].

        Args:
            step: A whole number from 0 on.

        Raises:
            OptionError: `step` is none.
        """
        return self._formula.rate_at(_formulas.whole(step, "step"))

    @staticmethod
    def constant(p: float) -> "Schedule":
        """Always `p`.

        Raises:
            RateError: `p` is outside [0, 1] or nan.

        >>> Schedule.constant(0.1)(1000)
        0.1
        """
        return Schedule(_formulas.Constant(p))

    @staticmethod
    def linear(start: float, end: float, steps: int) -> "Schedule":
        """From `start` at step 0 in a straight line to `end` at step `steps`, and `end` after it.

        Raises:
            RateError: `start` or `end` is outside [0, 1] or nan.
            OptionError: `steps` is no whole number from 1 on.

        Source:
            Falling to 0 it is the annealed dropout of Rennie, Goel and Thomas 2014, SLT.

        >>> Schedule.linear(0.5, 0.0, steps=100)(50)
        0.25
        """
        return Schedule(_formulas.Linear(start, end, steps))

    @staticmethod
    def early(p: float, steps: int, *, is_linear: bool = False) -> "Schedule":
        """`p` in the first `steps` steps, then 0: for models that underfit.

        Args:
            p: Drop rate in [0, 1].
            steps: How many steps drop anything.
            is_linear: Fall from `p` at step 0 in a straight line to 0 at step `steps`; the
                paper's choice.

        Raises:
            RateError: `p` is outside [0, 1] or nan.
            OptionError: `steps` is no whole number from 1 on.

        Source:
            Early dropout, Liu et al. 2023, ICML, arXiv:2303.01500.

        >>> [Schedule.early(0.1, steps=100)(step) for step in (0, 99, 100)]
        [0.1, 0.1, 0.0]
        """
        return Schedule(_formulas.Early(p, steps, is_linear))

    @staticmethod
    def late(p: float, start: int) -> "Schedule":
        """0 before step `start`, and `p` from there on: for models that overfit.

        Raises:
            RateError: `p` is outside [0, 1] or nan.
            OptionError: `start` is no whole number from 0 on.

        Source:
            Late dropout, Liu et al. 2023, ICML, arXiv:2303.01500.

        >>> [Schedule.late(0.4, start=100)(step) for step in (0, 99, 100)]
        [0.0, 0.0, 0.4]
        """
        return Schedule(_formulas.Late(p, start))

    @staticmethod
    def curriculum(p: float, gamma: float) -> "Schedule":
        """``p * (1 - exp(-gamma * step))``: from 0 up to `p`, steeply at first.

        The paper speaks of the share that is kept, ``(1 - keep) * exp(-gamma * t) + keep``; with
        ``keep = 1 - p`` it is one minus the rate above.

        Args:
            p: Drop rate in [0, 1] that is approached.
            gamma: Above 0, per step. The paper takes ``10 / T`` for a training of ``T`` updates.

        Raises:
            RateError: `p` is outside [0, 1] or nan.
            OptionError: `gamma` is no finite number above 0.

        Source:
            Curriculum dropout, Morerio et al. 2017, ICCV, arXiv:1703.06229.

        >>> rising = Schedule.curriculum(0.5, gamma=10 / 1000)
        >>> [round(rising(step), 3) for step in (0, 100, 1000)]
        [0.0, 0.316, 0.5]
        """
        return Schedule(_formulas.Curriculum(p, gamma))

    @staticmethod
    def piecewise(points: Mapping[int, float] | Iterable[tuple[int, float]]) -> "Schedule":
        """Straight lines between ``{step: rate}``; before the first and after the last its rate.

        Raises:
            RateError: A rate is outside [0, 1] or nan.
            OptionError: There is no point, a step is no whole number from 0 on, or the steps do
                not rise.

        >>> bump = Schedule.piecewise({0: 0.0, 100: 0.2, 300: 0.0})
        >>> [bump(step) for step in (0, 50, 100, 200, 300)]
        [0.0, 0.1, 0.2, 0.1, 0.0]
        """
        return Schedule(_formulas.Piecewise(points))

    def to_dict(self) -> dict[str, Any]:
        """Kind and settings: text, numbers, booleans and lists only.

        >>> Schedule.late(0.4, start=100).to_dict()
        {'kind': 'late', 'p': 0.4, 'start': 100}
        """
        return {"kind": self.kind, **self._settings()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Schedule":
        """The schedule that `to_dict` gave `data` for.

        Raises:
            OptionError: `data` is nothing that `to_dict` gives.
            RateError: A rate in it is outside [0, 1] or nan.
        """
        settings = dict(data) if hasattr(data, "keys") else {}
        formula = FORMULAS.get(str(settings.pop("kind", None)))
        if formula is None or settings.keys() != {field.name for field in fields(formula)}:
            raise OptionError(f"`data` must be what `Schedule.to_dict` gives; got {data!r}.")
        return Schedule(formula(**settings))

    @property
    def kind(self) -> str:
        """The name that made it: ``"linear"``, say."""
        return type(self._formula).__name__.lower()

    def _settings(self) -> dict[str, Any]:
        settings = asdict(self._formula)
        if "points" in settings:
            settings["points"] = [list(point) for point in settings["points"]]
        return settings

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        return f"Schedule.{self.kind}({said})"
