"""Named masks in Hugging Face's Trainer."""

import contextlib
from typing import Any, Self

from torch import Tensor, nn

from dropkit.core.scope import current_scope
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
        by_example: Whether an example's mask goes by its place in the whole step, over all micro
            batches and ranks. The masks are then the same however a step is divided among these.
            It takes inputs and dropped tensors whose first dimension is the batch, and one length
            of all sequences; without it nothing is asked of a model.

    Raises:
        AddressError: In training, with `by_example`: a dropped tensor does not hold the batch's
            examples in its first dimension.

    Everything is put back when training ends. Where training may raise or be interrupted, use it
    as a block too, for then Trainer calls nobody::

        with NamedMasks(trial) as masks:
            Trainer(..., callbacks=[masks]).train(resume_from_checkpoint=True)
    """

    def __init__(self, trial: Trial, *, by_example: bool = False) -> None:
        self._trial, self._by_example = trial, by_example
        self._model = contextlib.ExitStack()
        self._block = contextlib.ExitStack()
        self._micro_batch = self._step = self._first = self._n_opened = 0
        self._n_rows: int | None = None

    def on_train_begin(self, *_: Any, model: nn.Module | None = None, **__: Any) -> None:
        """Training begins, or begins again."""
        self.close()
        if model is not None:
            self._model.enter_context(accelerate(model))
            if self._by_example:
                handle = model.register_forward_pre_hook(self._see, with_kwargs=True)
                self._model.callback(handle.remove)

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
        self._leave()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """An epoch that was ended early leaves no block open."""
        self._leave()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Training has ended."""
        self.close()

    def close(self) -> None:
        """Put everything back; a second call does nothing."""
        self._leave()
        self._model.close()

    def _open(self, args: Any, state: Any) -> None:
        batch = self._micro_batch * args.world_size + args.process_index
        self._leave()
        self._step, self._first = state.global_step, batch * args.train_batch_size
        self._n_rows, self._n_opened = 0, 0
        if not self._by_example:
            self._block.enter_context(self._trial.masks(self._step, batch))

    def _see(self, model: nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        """A forward begins: its examples are the next of the step."""
        sizes = [x.shape[0] for x in (*args, *inputs.values()) if isinstance(x, Tensor) and x.dim()]
        if self._n_rows is None or not sizes or sizes[0] == self._n_rows:
            return  # nothing trains, or another forward of the same micro batch counts on
        self._block.close()
        rows = range(self._first, self._first + sizes[0])
        self._block.enter_context(self._trial.masks(self._step, self._n_opened, rows))
        scope = current_scope()
        if scope is not None:  # the call that would have named the modules has begun before it
            scope.learn_names(model)
        self._n_rows, self._n_opened = sizes[0], self._n_opened + 1

    def _leave(self) -> None:
        self._block.close()
        self._n_rows = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
