"""All arms in one table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dropkit.reporting import _wording as wording
from dropkit.studies.plan import Arm
from dropkit.studies.result import ArmResult, StudyResult

_BEFORE_DIFFERENCE = ("validation_loss", "accuracy", "gap", "ece")
_AFTER_DIFFERENCE = ("train_loss", "best_validation_loss")


@dataclass(frozen=True)
class Column:
    """A column's name and whether its cells are ordered as numbers."""

    name: str
    is_number: bool


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by.

    Attributes:
        text: The value; line ends are shown.
        order: A number as text, or the text itself; empty sorts last.
        detail: Smaller text after the value; may be empty.
    """

    text: str
    order: str
    detail: str = ""


@dataclass(frozen=True)
class TableRow:
    """One arm: its name, the CSS class of its colour, and a cell for each further column."""

    name: str
    series: str
    is_baseline: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Columns, of which the first holds the arms' names, and rows."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]


def view_table(result: StudyResult, series: dict[str, str], decimals: int) -> Table:
    """Every arm of `result` with all its metrics and its difference to the baseline."""
    before, after = _metrics(result)
    level = wording.percentage(result.confidence)
    has_change = any(_change(arm.arm).order for arm in result.arms)
    columns = (
        Column("Arm", is_number=False),
        Column("Drop rate", is_number=True),
        Column("Weight decay", is_number=True),
        *([Column("Change", is_number=False)] if has_change else []),
        *(Column(wording.capitalized(wording.readable(key)), is_number=True) for key in before),
        Column(f"Difference ({level} interval)", is_number=True),
        *(Column(wording.capitalized(wording.readable(key)), is_number=True) for key in after),
    )
    rows = tuple(
        TableRow(
            name=arm.arm.name,
            series=series[arm.arm.name],
            is_baseline=arm.arm.name == result.baseline,
            cells=(
                _rates(arm.arm),
                _number(arm.arm.weight_decay, f"{arm.arm.weight_decay:g}"),
                *([_change(arm.arm)] if has_change else []),
                *(_metric(arm, key) for key in before),
                _difference(result, arm.arm.name, decimals),
                *(_metric(arm, key) for key in after),
            ),
        )
        for arm in result.arms
    )
    return Table(columns, rows)


def _metrics(result: StudyResult) -> tuple[list[str], list[str]]:
    """Keys before and after the difference: the study's metric first, unknown ones last."""
    found = {key: None for arm in result.arms for key in arm.means}
    before = list(dict.fromkeys([result.metric, *_BEFORE_DIFFERENCE]))
    known = [key for key in _AFTER_DIFFERENCE if key in found and key not in before]
    unknown = [key for key in found if key not in before and key not in known]
    return before, known + unknown


def _number(value: float, text: str) -> Cell:
    return Cell(text, repr(float(value)) if math.isfinite(value) else "")


def _metric(arm: ArmResult, key: str) -> Cell:
    value = float(arm.means.get(key, math.nan))
    return _number(value, wording.fixed(value))


def _rates(arm: Arm) -> Cell:
    """One rate, or each pattern's; sorted by the highest."""
    text = "0"
    if not isinstance(arm.rates, Mapping):
        text = wording.plain(arm.rates)
    elif arm.rates:
        text = "\n".join(f"{key}: {wording.plain(rate)}" for key, rate in arm.rates.items())
    return _number(arm.highest_rate, text)


def _change(arm: Arm) -> Cell:
    """What else the arm changes, a line each."""
    lines = [f"{key}: {wording.plain(value)}" for key, value in arm.model_change.items()]
    if arm.data_fraction < 1.0:
        lines.append(f"data: {wording.percentage(arm.data_fraction)}")
    text = "\n".join(lines)
    return Cell(text or wording.DASH, text)


def _difference(result: StudyResult, name: str, decimals: int) -> Cell:
    if name == result.baseline:
        return Cell("baseline", "0.0")
    found = next((item for item in result.differences if item.arm == name), None)
    if found is None or not math.isfinite(found.estimate.value):
        return Cell(wording.DASH, "")
    ends = wording.interval(found.estimate, decimals)
    text = wording.signed(found.estimate.value, decimals)
    return Cell(text, repr(float(found.estimate.value)), ends)
