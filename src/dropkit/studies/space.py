"""Where a search may look for drop rates, and what it asks Optuna."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from dropkit.core.rate import threshold_from_rate
from dropkit.errors import MissingExtraError, OptionError
from dropkit.studies.plan import Json
from dropkit.studies.words import listed


@dataclass(frozen=True)
class Between:
    """A drop rate from `low` to `high`.

    Attributes:
        low: In [0, 1); above 0 where `log`.
        high: In (0, 1), above `low`.
        log: Whether small rates are tried as finely as large ones, in proportion.

    Raises:
        RateError: An end is no drop rate.
        OptionError: The ends are not in this order, or `low` is 0 where `log`.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            threshold_from_rate(getattr(self, name), name=name)
        if not self.low < self.high:
            raise OptionError(f"`low` must be below `high`; got {self.low:g} and {self.high:g}.")
        if self.log and self.low == 0.0:
            raise OptionError("`low` must be above 0 where `log`; got 0.")


#: One rate for all sites, or one for each pattern of site names; a number stays as it is.
Space = Between | Mapping[str, Between | float]


def space_to_dict(space: Space) -> dict[str, Json]:
    """The space by pattern, as JSON can write it."""
    return {key: asdict(one) if isinstance(one, Between) else one for key, one in _all(space)}


class Sampler:
    """Asks Optuna which rates to try; asked and told alike, it says the same again.

    Args:
        space: Where it looks.
        seed: Of the sampler.
        startup: How many candidates are drawn at random before the sampler learns.

    Raises:
        OptionError: The space has nothing to look for.
        MissingExtraError: Optuna is not installed.
    """

    def __init__(self, space: Space, *, seed: int, startup: int) -> None:
        self._space = space
        self._searched = {key: one for key, one in _all(space) if isinstance(one, Between)}
        if not self._searched:
            raise OptionError(f"`space` must hold a Between; got {space!r}.")
        optuna = import_optuna()
        self.about = f"TPE of optuna {optuna.__version__}"
        self._asked: dict[str, Any] = {}
        self._state = optuna.trial.TrialState
        self._distributions = {
            key: optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)
            for key, one in self._searched.items()
        }
        with quiet(optuna):
            self._study = optuna.create_study(
                sampler=optuna.samplers.TPESampler(
                    seed=seed % 2**32, n_startup_trials=startup, constant_liar=True
                )
            )

    def ask(self) -> tuple[str, float | dict[str, float]]:
        """Name and rates of the next candidate: the rates are rounded to four digits."""
        trial = self._study.ask(self._distributions)
        found = {key: float(f"{value:.4g}") for key, value in trial.params.items()}
        said = listed([f"{key} {rate:g}" for key, rate in found.items()])
        if isinstance(self._space, Between):
            said = f"{found['*']:g}"
        name = f"candidate {len(self._asked) + 1}: {said}"
        self._asked[name] = trial
        if isinstance(self._space, Between):
            return name, found["*"]
        fixed = {key: one for key, one in self._space.items() if not isinstance(one, Between)}
        return name, {key: {**fixed, **found}[key] for key in self._space}

    def tell(self, name: str, value: float) -> None:
        """What came of the candidate: the mean of its metric, nan where it did not finish."""
        with quiet(import_optuna()):
            if math.isfinite(value):
                self._study.tell(self._asked[name], value)
            else:
                self._study.tell(self._asked[name], state=self._state.FAIL)


def import_optuna() -> ModuleType:
    """Optuna.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import optuna  # noqa: PLC0415 - in an extra
    except ImportError as error:
        message = "a search needs optuna: pip install 'dropkit[optuna]'."
        raise MissingExtraError(message) from error
    return optuna


@contextlib.contextmanager
def quiet(optuna: ModuleType) -> Iterator[None]:
    """Inside the block Optuna neither logs that all is well nor warns of what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _all(space: Space) -> list[tuple[str, Between | float]]:
    return [("*", space)] if isinstance(space, Between) else list(space.items())
