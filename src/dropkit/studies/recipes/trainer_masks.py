"""Named masks in Hugging Face's Trainer."""

import contextlib
from types import TracebackType
from typing import Any, Self

from torch import nn

from dropkit.errors import MissingExtraError
from dropkit.sites.accelerate import accelerate
from dropkit.studies.trial import Trial

try:
    from transformers import TrainerCallback
except ImportError as error:
    message = "a recipe for Trainer needs transformers: pip install 'dropkit[finetune]'."
    raise MissingExtraError(message) from error


class NamedMasks(TrainerCallback):
    """Give every mask of a Trainer's training a name: step, micro batch, rank, site and call.

    So a run that is resumed from a checkpoint draws what the uninterrupted one would have drawn,
    bit for bit, and two arms of a replicate differ in their rates alone. Each micro batch of a
    step has masks of its own, as has each rank. Schedules of a trial's rates follow the
    optimizer's steps. From the begin of training to its end the model's dropout runs on dropkit's
    core: see `dropkit.accelerate`.

    Args:
        trial: Names the masks. Its rates are applied by whoever calls its `apply`.

    Everything is put back when training ends. Where training may raise or be interrupted, use it
    as a block too, for then Trainer calls nobody::

        with NamedMasks(trial) as masks:
            Trainer(..., callbacks=[masks]).train(resume_from_checkpoint=True)
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._model = contextlib.ExitStack()
        self._block = contextlib.ExitStack()
        self._micro_batch = 0

    def on_train_begin(self, *_: Any, model: nn.Module | None = None, **__: Any) -> None:
        """Training begins, or begins again."""
        self.close()
        if model is not None:
            self._model.enter_context(accelerate(model))

    def on_step_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """The first micro batch of a step."""
        self._micro_batch = 0
        self._open(args, state)

    def on_substep_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """The next one."""
        self._micro_batch += 1
        self._open(args, state)

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """All gradients of the step are there."""
        self._block.close()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """An epoch that was ended early leaves no block open."""
        self._block.close()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Training has ended."""
        self.close()

    def close(self) -> None:
        """Put everything back; a second call does nothing."""
        self._block.close()
        self._model.close()

    def _open(self, args: Any, state: Any) -> None:
        self._block.close()
        sample = self._micro_batch * args.world_size + args.process_index
        self._block.enter_context(self._trial.masks(state.global_step, sample))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
