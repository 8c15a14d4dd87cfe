"""A recorder as a callback of Lightning's Trainer."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from dropkit.errors import MissingExtraError

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

    from dropkit.tracing.recorder import Recorder


def lightning_callback(recorder: "Recorder") -> "Callback":
    """Ends a recorder's step with each training batch, and closes it with the training.

    Raises:
        MissingExtraError: lightning is not installed.
    """
    try:
        from lightning.pytorch.callbacks import Callback  # noqa: PLC0415 - only its users have it
    except ImportError as error:
        message = "a callback for Lightning needs lightning: pip install lightning."
        raise MissingExtraError(message) from error

    class RecorderCallback(Callback):
        """Calls the recorder."""

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            """After the batch's optimizer step."""
            del trainer, module
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            recorder.step(**({"loss": loss} if isinstance(loss, Tensor) else {}))

        def on_train_end(self, *_: Any) -> None:
            """The end."""
            recorder.close()

    return RecorderCallback()
