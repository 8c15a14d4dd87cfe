"""A study's fit from a function that makes a Lightning Trainer."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dropkit.studies.costs import Costs
from dropkit.studies.recipes.chance import chance_put_back, seed_all
from dropkit.studies.recipes.decay import check_weight_decay
from dropkit.studies.recipes.lightning_masks import NamedMasks  # first: it says what is missing
from dropkit.studies.trial import Trial

from lightning.pytorch import LightningDataModule  # isort: skip
from lightning.pytorch.callbacks import Callback  # isort: skip


@dataclass(frozen=True)
class LightningFit:
    """Train and measure a trial with the Lightning Trainer that `make` makes for it.

    The trial gives the rates of the module, the seeds of initial weights and order, and the names
    of the masks; the rest is Lightning's. Reported are the training loss, every
    ``log_every_n_steps``, and all that was logged by the end of each validation. The trial ends
    where it is to stop.

    Args:
        make: Makes for a trial the Trainer, the module, and what ``Trainer.fit`` takes behind it:
            a data module, or the training and the validation loader. It is called under the
            trial's seed for weights; what else it draws, such as the split, it takes from
            ``trial.seed(...)``, and weight decay from ``trial.arm``. Must be picklable where there
            are workers.
        loss: The name under which the module's ``validation_step`` logs its loss.

    Returns:
        When called, all that ``trainer.validate`` gives, `loss` as ``validation_loss``, and then
        ``train_loss``: the same of as many training batches as there are for validation; ``gap``:
        ``validation_loss - train_loss``; ``step_s`` (of a batch) and ``peak_mib``, see
        `dropkit.studies.costs.Costs`.

    Raises:
        MissingExtraError: When this module is imported without lightning.
        OptionError: When called: the arm has weight decay, and the module's optimizers have not.
    """

    make: Callable[[Trial], tuple[Any, ...]]
    loss: str = "val_loss"

    @property
    def __wrapped__(self) -> Callable[[Trial], tuple[Any, ...]]:
        """What names this fit, as it would a decorated function."""
        return self.make

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Run `trial`."""
        with chance_put_back(), contextlib.ExitStack() as stack:
            seed_all(trial, "weights")
            trainer, module, *data = self.make(trial)
            stack.enter_context(trial.apply(module))
            costs = Costs(trainer.strategy.root_device)
            masks = NamedMasks(trial)
            stack.callback(masks.close)
            watch = _Watch(trial, costs, self._named)
            trainer.callbacks += [masks, watch]
            seed_all(trial, "order")
            trainer.fit(module, *data)
            for callback in (masks, watch):
                trainer.callbacks.remove(callback)
            if trial.reasons:
                return {}
            return {**self._losses(trainer, module, data), **costs.metrics()}

    def _named(self, logged: Mapping[str, Any]) -> dict[str, float]:
        """What was logged, by the names that studies use."""
        return {
            "validation_loss" if name == self.loss else name: float(value)
            for name, value in logged.items()
        }

    def _losses(self, trainer: Any, module: Any, data: list[Any]) -> dict[str, float]:
        """All metrics of the trained module, in evaluation."""
        if isinstance(data[0], LightningDataModule):
            train, held_out = data[0].train_dataloader(), data[0].val_dataloader()
        else:
            train, held_out, *_ = [*data, None]
        if held_out is None:
            return {}
        found = self._named(_validated(trainer, module, held_out))
        trained_on = self._named(_validated(trainer, module, _First(train, len(held_out))))
        if "validation_loss" in trained_on:
            found["train_loss"] = trained_on["validation_loss"]
            found["gap"] = found["validation_loss"] - found["train_loss"]
        return found


def _validated(trainer: Any, module: Any, loader: Any) -> dict[str, Any]:
    logged: dict[str, Any] = {}
    for one in trainer.validate(module, loader, verbose=False):
        logged.update(one)
    return logged


@dataclass(frozen=True)
class _First:
    """The first batches of a loader."""

    loader: Iterable[Any]
    n: int

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.loader), self.n)


class _Watch(Callback):
    """Joins a Lightning Trainer to a trial."""

    def __init__(
        self, trial: Trial, costs: Costs, named: Callable[[Mapping[str, Any]], dict[str, float]]
    ) -> None:
        self._trial, self._costs, self._named = trial, costs, named

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        del pl_module
        check_weight_decay(self._trial, trainer.optimizers)

    def on_train_batch_start(self, *_: Any) -> None:
        self._costs.begin_step()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        del pl_module, batch
        self._costs.end_step()
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if loss is not None:
                self._trial.report(trainer.global_step, train_loss=float(loss))
        if self._trial.should_stop:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        del pl_module
        if trainer.sanity_checking:
            return
        self._trial.report(trainer.global_step, **self._named(trainer.callback_metrics))
        if self._trial.should_stop:
            trainer.should_stop = True
