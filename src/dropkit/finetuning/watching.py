"""A Trainer's callbacks within a trial: curves by epoch, the best weights, where the time goes."""

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from transformers import TrainerCallback

from dropkit.finetuning.general import General
from dropkit.finetuning.keeping import TrialFolder
from dropkit.finetuning.tasks import Parts
from dropkit.studies.costs import Costs
from dropkit.studies.trial import Trial


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

    The training loss is that of as many training examples as are held out. General text is read
    before training and after it. All arms of a replicate begin alike, so that the first of them
    measures that for all. A run that goes on from a checkpoint takes up the moments that were
    measured before it.

    Args:
        trial: To report to.
        folder: Keeps the moments.
        measure: From examples to their mean loss and the share of right predictions.
        parts: The examples.
        general: Text on other things.
        clock: Counts the time of evaluation.
    """

    def __init__(
        self,
        trial: Trial,
        folder: TrialFolder,
        measure: Callable[[Sequence[Any]], tuple[float, float]],
        parts: Parts,
        general: General | None,
        *,
        clock: Clock,
    ) -> None:
        self._trial, self._folder, self._mean_loss, self._parts = trial, folder, measure, parts
        self._general, self._clock = general, clock
        self.moments: list[dict[str, float]] = []
        n, n_seen = len(parts.train), min(len(parts.train), len(parts.held_out))
        self._seen: Sequence[Any] = [parts.train[k * n // n_seen] for k in range(n_seen)]

    def on_train_begin(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """The model as it is, or what was measured before the interruption."""
        del args
        if state.global_step:
            kept = self._folder.read("curve") or []
            self.moments = [one for one in kept if one["step"] <= state.global_step]
            for one in self.moments:
                self._report(one)
            return
        start = self._folder.shared.read("start")
        if start is None:
            start = self._measured(0, 0, is_last=True)
            self._folder.shared.write("start", start)
        self._add(start, model)

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """After an epoch."""
        # Stopped in the middle of an epoch, it is none.
        if control.should_training_stop and self._trial.reasons:
            return
        epoch = round(state.epoch)
        moment = self._measured(epoch, state.global_step, is_last=epoch >= args.num_train_epochs)
        self._add(moment, model)
        if self._trial.should_stop:
            control.should_training_stop = True

    def _measured(self, epoch: int, step: int, *, is_last: bool) -> dict[str, float]:
        with self._clock.part("evaluation"):
            train, _ = self._mean_loss(self._seen)
            held_out, accuracy = self._mean_loss(self._parts.held_out)
            moment = {
                "epoch": epoch,
                "step": step,
                "train_loss": train,
                "held_out_loss": held_out,
                "accuracy": accuracy,
            }
            if self._general is not None and is_last:
                moment["general_loss"], _ = self._mean_loss(self._general.pieces)
        return moment

    def _add(self, moment: dict[str, float], model: Any) -> None:
        best = min((m["held_out_loss"] for m in self.moments if m["epoch"]), default=math.inf)
        self.moments.append(moment)
        if moment["epoch"] and moment["held_out_loss"] < best:
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
