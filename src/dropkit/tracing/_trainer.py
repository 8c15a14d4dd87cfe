"""A recorder as a callback of Hugging Face's Trainer."""

from typing import TYPE_CHECKING, Any

from dropkit.errors import MissingExtraError

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from dropkit.tracing.recorder import Recorder


def trainer_callback(recorder: "Recorder") -> "TrainerCallback":
    """Ends a recorder's step where the optimizer's ends, and closes it with the training.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import TrainerCallback  # noqa: PLC0415 - only who has a Trainer has it
    except ImportError as error:
        message = "a callback for Trainer needs transformers: pip install transformers."
        raise MissingExtraError(message) from error

    class RecorderCallback(TrainerCallback):
        """Calls the recorder."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """After the optimizer's step; the loss is the latest that the Trainer has logged."""
            del args, control
            losses = [log["loss"] for log in state.log_history[-1:] if "loss" in log]
            recorder.step(**({"loss": losses[0]} if losses else {}))

        def on_train_end(self, *_: Any, **__: Any) -> None:
            """The end."""
            recorder.close()

    return RecorderCallback()
