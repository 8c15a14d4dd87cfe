"""A Trainer's callbacks within a trial: curves by epoch, the best weights, where the time goes."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from transformers import TrainerCallback

from dropkit.finetuning.general import General
from dropkit.finetuning.keeping import TrialFolder
from dropkit.finetuning.tasks import Parts, Work, mean_loss
from dropkit.studies.costs import Costs
from dropkit.studies.trial import Trial

#: Training examples that a curve's training loss is measured on, at most.
_MOST_TRAIN = 200


class Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's seconds to `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.parts[name] += time.perf_counter() - begin


class Curve(TrainerCallback):
    """Measures before the first and after each epoch, and keeps the weights of the best.

    A run that goes on from a checkpoint takes up the moments that were measured before it.

    Args:
        trial: To report to.
        folder: Keeps the moments.
        work: What the examples are of.
        parts: The examples.
        general: Text on other things.
        batch: Examples a forward.
        clock: Counts the time of evaluation.
    """

    def __init__(
        self,
        trial: Trial,
        folder: TrialFolder,
        work: Work,
        parts: Parts,
        general: General | None,
        *,
        batch: int,
        clock: Clock,
    ) -> None:
        self._trial, self._folder, self._work, self._parts = trial, folder, work, parts
        self._general, self._batch, self._clock = general, 2 * batch, clock
        self.moments: list[dict[str, float]] = []
        n = len(parts.train)
        n_seen = min(n, _MOST_TRAIN)
        self._seen: Sequence[Any] = [parts.train[k * n // n_seen] for k in range(n_seen)]

    def on_train_begin(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """The model as it is, or what was measured before the interruption."""
        del args
        if state.global_step:
            kept = self._folder.read("curve") or []
            self.moments = [one for one in kept if one["step"] <= state.global_step]
            for one in self.moments:
                self._report(one)
        else:
            self._measure(model, 0, 0)

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """After an epoch."""
        del args
        # Stopped in the middle of an epoch, it is none.
        if control.should_training_stop and self._trial.reasons:
            return
        self._measure(model, round(state.epoch), state.global_step)
        if self._trial.should_stop:
            control.should_training_stop = True

    def _measure(self, model: Any, epoch: int, step: int) -> None:
        with self._clock.part("evaluation"):
            train, _ = mean_loss(model, self._work, self._seen, batch=self._batch)
            held_out, accuracy = mean_loss(
                model, self._work, self._parts.held_out, batch=self._batch
            )
            moment = {
                "epoch": epoch,
                "step": step,
                "train_loss": train,
                "held_out_loss": held_out,
                "accuracy": accuracy,
            }
            if self._general is not None:
                pieces = self._general.pieces
                moment["general_loss"], _ = mean_loss(model, self._work, pieces, batch=self._batch)
            is_best = not self.moments or held_out < min(m["held_out_loss"] for m in self.moments)
            self.moments.append(moment)
            if is_best:
                self._folder.keep_best(model)
            self._folder.write("curve", self.moments)
        self._report(moment)

    def _report(self, moment: dict[str, float]) -> None:
        given = {k: v for k, v in moment.items() if k in ("train_loss", "accuracy", "general_loss")}
        self._trial.report(int(moment["step"]), validation_loss=moment["held_out_loss"], **given)


class Steps(TrainerCallback):
    """Times the steps, and stops where the trial is to stop."""

    def __init__(self, trial: Trial, costs: Costs) -> None:
        self._trial, self._costs, self.n = trial, costs, 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step begins."""
        self._costs.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """It has ended."""
        del args, state
        self._costs.end_step()
        self.n += 1
        if self._trial.should_stop:
            control.should_training_stop = True
