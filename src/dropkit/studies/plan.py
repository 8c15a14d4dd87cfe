"""What a study runs: arms, as plain data."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError
from dropkit.nn.schedules import Schedule
from dropkit.sites.rates import Rates, Scheduled

#: What `dropkit.set_rates` takes.
ArmRates = Rates | str | Scheduled

#: What JSON can write: None, bool, int, float, str, and lists and dicts of these.
Json = Any


@dataclass(frozen=True)
class Arm:
    """One way to train, as plain data.

    Attributes:
        name: Unique within a study.
        rates: What `dropkit.set_rates` takes: a drop rate in [0, 1], ``{pattern: rate}``, the
            name of a preset, or a `dropkit.Schedule` in the place of any rate. Numbers are
            checked here, the rest where it is applied.
        weight_decay: Strength of the weight decay, >= 0, in the optimizer's own unit.
        model_change: Handed to the fit as it is, for what is not a rate: where a layer stands,
            how wide it is. Whatever JSON can write.
        data_fraction: Share of its training data that the fit is to use, in (0, 1]. An arm below
            1 shows whether more data would help; see the signal ``more-data``.
    """

    name: str
    rates: ArmRates = 0.0
    weight_decay: float = 0.0
    model_change: Mapping[str, Json] = field(default_factory=dict)
    data_fraction: float = 1.0

    def __post_init__(self) -> None:
        for rate in _listed(self.rates):
            if isinstance(rate, int | float):
                threshold_from_rate(rate, name="rates", site=self.name)
        if not self.weight_decay >= 0.0:
            raise OptionError(
                f"`weight_decay` must be >= 0; got {self.weight_decay!r} in arm {self.name!r}."
            )
        if not 0.0 < self.data_fraction <= 1.0:
            raise OptionError(
                f"`data_fraction` must be in (0, 1]; got {self.data_fraction!r} "
                f"in arm {self.name!r}."
            )
        try:
            json.dumps(dict(self.model_change), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"`model_change` must be what JSON can write; got {self.model_change!r} "
                f"in arm {self.name!r}."
            ) from error

    @classmethod
    def grid(
        cls,
        *,
        rates: Sequence[ArmRates] = (0.0,),
        weight_decay: Sequence[float] = (0.0,),
        model_change: Sequence[Mapping[str, Json]] = ({},),
    ) -> tuple[Self, ...]:
        """Every combination, named by what varies; the first of each makes the baseline.

        >>> [arm.name for arm in Arm.grid(rates=[0.0, 0.5], weight_decay=[0.0, 0.1])]
        ['rates 0, weight decay 0', 'rates 0, weight decay 0.1', 'rates 0.5, weight decay 0',
         'rates 0.5, weight decay 0.1']
        """
        lists: dict[str, Sequence[Any]] = {
            "rates": rates,
            "weight decay": weight_decay,
            "change": model_change,
        }
        empty = [name for name, values in lists.items() if not values]
        if empty:
            raise OptionError(f"`{empty[0]}` of a grid must hold at least one value; got none.")
        arms = []
        for values in itertools.product(*lists.values()):
            said = [
                f"{name} {_said(value)}"
                for name, value in zip(lists, values, strict=True)
                if len(lists[name]) > 1
            ]
            arms.append(cls(", ".join(said) or "only", *values))
        return tuple(arms)

    @property
    def has_dropout(self) -> bool:
        """Whether any rate is above 0, or is none that can be read as a number."""
        return self.highest_rate != 0.0

    @property
    def highest_rate(self) -> float:
        """The highest drop rate; nan where one is not a plain number."""
        rates = _listed(self.rates)
        if not all(isinstance(rate, int | float) for rate in rates):
            return math.nan
        return max((float(rate) for rate in rates), default=0.0)

    def differs_only_in(self, other: "Arm", attribute: str) -> bool:
        """Whether this arm and `other` agree in all but their names and `attribute`."""
        same = {"rates", "weight_decay", "model_change", "data_fraction"} - {attribute}
        return all(getattr(self, name) == getattr(other, name) for name in same)

    def to_dict(self) -> dict[str, Json]:
        """The attributes by name, as JSON can write them."""
        return {
            "name": self.name,
            "rates": _written(self.rates),
            "weight_decay": self.weight_decay,
            "model_change": dict(self.model_change),
            "data_fraction": self.data_fraction,
        }


def _listed(rates: ArmRates) -> list[Any]:
    return list(rates.values()) if isinstance(rates, Mapping) else [rates]


def _written(rates: Any) -> Json:
    if isinstance(rates, Mapping):
        return {pattern: _written(rate) for pattern, rate in rates.items()}
    return rates.to_dict() if isinstance(rates, Schedule) else rates


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_said(item)}" for key, item in value.items()) or "none"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
