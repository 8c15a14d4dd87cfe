"""Named masks in Lightning's Trainer."""

import contextlib
from typing import Any

from dropkit.errors import MissingExtraError
from dropkit.sites.accelerate import accelerate
from dropkit.studies.trial import Trial

try:
    from lightning.pytorch.callbacks import Callback
except ImportError as error:
    message = "a recipe for Lightning needs lightning: pip install 'dropkit[lightning]'."
    raise MissingExtraError(message) from error


class NamedMasks(Callback):
    """Give every mask of a Lightning training a name: step, batch of the step, rank, site and call.

    So a run that is resumed from a checkpoint draws what the uninterrupted one would have drawn,
    bit for bit, and two arms of a replicate differ in their rates alone. Where gradients
    accumulate, each batch of a step has masks of its own, as has each rank. Schedules of a trial's
    rates follow the optimizer's steps. While training lasts, dropout of the whole process runs on
    dropkit's core, for a ``training_step`` may drop outside of any module's forward: see
    `dropkit.accelerate`. When it ends, raises or is interrupted, everything is put back.

    Args:
        trial: Names the masks. Its rates are applied by whoever calls its `apply`.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._training = contextlib.ExitStack()
        self._block = contextlib.ExitStack()
        self._step, self._batch = -1, 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Training begins."""
        del trainer
        self.close()
        self._training.enter_context(accelerate(pl_module))
        self._training.enter_context(accelerate())

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """A batch of the step that the optimizer has still to make."""
        is_next = trainer.global_step != self._step
        self._step, self._batch = trainer.global_step, 0 if is_next else self._batch + 1
        sample = self._batch * trainer.world_size + trainer.global_rank
        self._block.close()
        self._block.enter_context(self._trial.masks(self._step, sample))

    def on_train_batch_end(self, *_: Any) -> None:
        """Validation may follow."""
        self._block.close()

    def on_train_end(self, *_: Any) -> None:
        """Training has ended."""
        self.close()

    def on_exception(self, *_: Any) -> None:
        """Training has ended otherwise."""
        self.close()

    def close(self) -> None:
        """Put everything back; a second call does nothing."""
        self._block.close()
        self._training.close()
        self._step = -1
