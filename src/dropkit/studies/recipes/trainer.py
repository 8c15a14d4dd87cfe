"""A study's fit from a function that makes a Hugging Face Trainer."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.data import Subset

from dropkit.studies.costs import Costs
from dropkit.studies.recipes.chance import chance_put_back, seed_all
from dropkit.studies.recipes.decay import check_weight_decay
from dropkit.studies.recipes.trainer_masks import NamedMasks  # first: it says what is missing
from dropkit.studies.trial import Trial

from transformers import Trainer, TrainerCallback  # isort: skip

#: What a Trainer logs of its own speed; it would make equal runs look different.
_SPEED = ("_runtime", "_per_second", "_time", "epoch", "num_input_tokens_seen", "total_flos")


@dataclass(frozen=True)
class TrainerFit:
    """Train and measure a trial with the Trainer that `make` makes for it.

    The trial gives the rates of the model, the weight decay, the seeds of initial weights and
    order, and the names of the masks; the rest is the Trainer's. What it logs is reported: the
    training loss as ``train_loss``, that of validation as ``validation_loss``, other metrics by
    their own names. The trial ends where it is to stop.

    Args:
        make: Makes a Trainer for a trial, with a model or a ``model_init`` of its own. It is
            called under the trial's seed for weights; what else it draws, such as the split, it
            takes from ``trial.seed(...)``. An optimizer that it brings along must have
            ``trial.arm.weight_decay`` itself. Must be picklable where there are workers.
        by_example: As for `dropkit.studies.recipes.trainer_masks.NamedMasks`.

    Returns:
        When called, all metrics of ``trainer.evaluate()``, and then ``train_loss``: that of the
        trained model, in evaluation, on as many training examples as there are for validation;
        ``gap``: ``validation_loss - train_loss``; ``step_s`` and ``peak_mib``, see
        `dropkit.studies.costs.Costs`.

    Raises:
        MissingExtraError: When this module is imported without transformers.
        OptionError: When called: the arm has weight decay, and an optimizer that `make` brought
            along has not.
    """

    make: Callable[[Trial], Trainer]
    by_example: bool = False

    @property
    def __wrapped__(self) -> Callable[[Trial], Trainer]:
        """What names this fit, as it would a decorated function."""
        return self.make

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Run `trial`."""
        with chance_put_back(), contextlib.ExitStack() as stack:
            weights = seed_all(trial, "weights")
            trainer = self.make(trial)
            order = seed_all(trial, "order")
            trainer.args.seed = weights  # of a `model_init`
            trainer.args.data_seed = trainer.accelerator.dataloader_config.data_seed = order
            trainer.args.weight_decay = trial.arm.weight_decay
            costs = Costs(trainer.args.device)
            masks = stack.enter_context(NamedMasks(trial, by_example=self.by_example))
            for callback in (_Watch(trial, costs, stack), masks):
                trainer.add_callback(callback)
                stack.callback(trainer.remove_callback, callback)
            trainer.train()
            stack.close()
            return {} if trial.reasons else {**_losses(trainer), **costs.metrics()}


class _Watch(TrainerCallback):
    """Joins a Trainer to a trial."""

    def __init__(self, trial: Trial, costs: Costs, stack: contextlib.ExitStack) -> None:
        self._trial, self._costs, self._stack = trial, costs, stack

    def on_train_begin(
        self, *_: Any, model: nn.Module | None = None, optimizer: Any = None, **__: Any
    ) -> None:
        """The model is there at last: a `model_init` makes it when training begins."""
        if model is not None:
            self._stack.enter_context(self._trial.apply(model))
        if optimizer is not None:
            check_weight_decay(self._trial, [optimizer])

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._costs.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, state
        self._costs.end_step()
        if self._trial.should_stop:
            control.should_training_stop = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        del args
        found = _metrics(logs or {})
        if found and "train_runtime" not in (logs or {}):  # that one sums the training up
            self._trial.report(state.global_step, **found)
            if self._trial.should_stop:
                control.should_training_stop = True


def _metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    """What a Trainer logged, by the names that studies use."""
    found = {}
    for key, value in logs.items():
        if not isinstance(value, int | float) or key.endswith(_SPEED):
            continue
        if key == "grad_norm" and not math.isfinite(value):
            continue  # a scaler of half precision skips such steps; no loss is lost
        name = {"loss": "train_loss", "eval_loss": "validation_loss"}.get(key, key)
        found[name.removeprefix("eval_")] = float(value)
    return found


def _losses(trainer: Trainer) -> dict[str, float]:
    """All metrics of the trained model, in evaluation."""
    found = _metrics(trainer.evaluate()) if trainer.eval_dataset is not None else {}
    train: Any = trainer.train_dataset
    held_out: Any = trainer.eval_dataset
    try:
        n_train = len(train)
    except TypeError:  # it is a stream
        return found
    n_seen = n_train
    if hasattr(held_out, "__len__") and not isinstance(held_out, dict):
        n_seen = min(n_train, len(held_out))
    seen = Subset(train, [k * n_train // n_seen for k in range(n_seen)])
    measured = trainer.evaluate(seen, metric_key_prefix="train")
    if "train_loss" in measured:
        found["train_loss"] = measured["train_loss"]
    if "train_loss" in found and "validation_loss" in found:
        found["gap"] = found["validation_loss"] - found["train_loss"]
    return found
