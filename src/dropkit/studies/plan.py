"""What a study runs: arms, and the trials that chance makes of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from dropkit.core.address import Address
from dropkit.core.naming import masks_at
from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError
from dropkit.sites.change import Change
from dropkit.sites.rates import Rates, set_rates


@dataclass(frozen=True)
class Arm:
    """One way to train, as plain data.

    Attributes:
        name: Unique within a study.
        rates: What `dropkit.set_rates` takes: a drop rate in [0, 1], or ``{pattern: rate}``.
        weight_decay: Strength of the weight decay, >= 0, in the optimizer's own unit.
    """

    name: str
    rates: Rates = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for rate in self.rates.values() if isinstance(self.rates, Mapping) else [self.rates]:
            threshold_from_rate(rate, name="rates", site=self.name)
        if not self.weight_decay >= 0.0:
            raise OptionError(
                f"`weight_decay` must be >= 0; got {self.weight_decay!r} in arm {self.name!r}."
            )

    @property
    def has_dropout(self) -> bool:
        """Whether any rate is above 0."""
        rates = self.rates.values() if isinstance(self.rates, Mapping) else [self.rates]
        return any(rate > 0.0 for rate in rates)


@dataclass(frozen=True)
class Point:
    """Metrics of one trial after `step` steps."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """One run of one arm. All arms of a replicate share everything that chance decides.

    Attributes:
        arm: What is tried.
        replicate: 0, 1, ...; each draws its data split, weights, data order and masks anew.
        study_seed: Root of all of it.
    """

    arm: Arm
    replicate: int
    study_seed: int = 0
    points: list[Point] = field(default_factory=list, compare=False)

    def seed(self, purpose: str) -> int:
        """A seed in [0, 2**63) for one source of chance; the same in every arm of the replicate.

        Args:
            purpose: For example ``"split"``, ``"weights"`` or ``"order"``.
        """
        root = Address.from_seed(self.study_seed).fold("trial").fold(self.replicate)
        return root.fold(purpose).key >> 1

    def apply(self, model: nn.Module) -> Change:
        """Give `model` this arm's drop rates."""
        return set_rates(model, self.arm.rates)

    def masks(self, step: int) -> masks_at:
        """A block in which masks are named: nested across the arms' rates, the same in a replay."""
        return masks_at(self.seed("masks"), step=step)

    def report(self, step: int, **metrics: float) -> None:
        """Keep metrics of this moment for the learning curves."""
        self.points.append(Point(step, dict(metrics)))


#: Trains and measures one trial; returns the metrics that the study compares.
Fit = Callable[[Trial], Mapping[str, float]]
