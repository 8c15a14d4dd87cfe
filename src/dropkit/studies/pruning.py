"""Candidates of a search that are clearly behind stop early; no arm of a verdict ever does."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dropkit.studies.space import import_optuna, quiet
from dropkit.studies.trial import Fit, Line, Point, Trial

#: What the record of such a trial says.
PRUNED = "it was behind the other candidates"

#: So many rivals must have come through before anyone is stopped.
_STARTUP = 4


@dataclass(frozen=True)
class Candidate(Trial):
    """A trial of a search.

    Attributes:
        metric: What is compared.
        rivals: What earlier candidates reported in the same replicate, and so on the same data,
            from the same weights and in the same order.
    """

    metric: str = ""
    rivals: Sequence[Sequence[Point]] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class PrunedFit:
    """A fit whose trial is told to stop where the median of its rivals was better by then.

    It takes a fit that reports the metric on the way and asks for ``trial.should_stop``; any other
    runs to its end.

    Source:
        Golovin et al. 2017, KDD, "Google Vizier" (median stopping rule); Optuna's MedianPruner.
    """

    fit: Fit

    @property
    def __wrapped__(self) -> Fit:
        """What names this fit."""
        return self.fit

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Run `trial`, a `Candidate`."""
        assert isinstance(trial, Candidate)  # a search makes no others
        line = _Line(trial)
        metrics = self.fit(dataclasses.replace(trial, line=line))
        if line.is_pruned:
            trial.reasons[:] = [PRUNED]
        return dict(metrics)


class _Line:
    """To whoever runs the trial, and to a pruner on the way."""

    def __init__(self, trial: Candidate) -> None:
        self._line: Line = trial.line
        self._metric = trial.metric
        self._has_news = self.is_pruned = False
        self._trial: Any = None
        rivals = [_values(points, trial.metric) for points in trial.rivals]
        if any(rivals):
            self._trial = _among([values for values in rivals if values])

    def report(self, point: Point) -> None:
        """Hand it on."""
        self._line.report(point)
        if self._trial is not None and self._metric in point.metrics:
            with quiet(import_optuna()):
                self._trial.report(point.metrics[self._metric], point.step)
            self._has_news = True

    def is_stopped(self) -> bool:
        """Whether the study was stopped, or the trial is behind."""
        if self._has_news:
            self._has_news = False
            self.is_pruned = self.is_pruned or self._trial.should_prune()
        return self.is_pruned or self._line.is_stopped()


def _values(points: Sequence[Point], metric: str) -> dict[int, float]:
    return {point.step: point.metrics[metric] for point in points if metric in point.metrics}


def _among(rivals: Sequence[dict[int, float]]) -> Any:
    """A trial of Optuna's among finished ones."""
    optuna = import_optuna()
    with quiet(optuna):
        study = optuna.create_study(
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP), sampler=_no_sampler()
        )
        for values in rivals:
            study.add_trial(
                optuna.trial.create_trial(
                    value=list(values.values())[-1], intermediate_values=values
                )
            )
        return study.ask()


def _no_sampler() -> Any:
    return import_optuna().samplers.RandomSampler(seed=0)  # it is asked for nothing
