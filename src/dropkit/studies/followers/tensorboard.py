"""A study in TensorBoard: a run for each trial."""

from pathlib import Path
from typing import Any

from dropkit.errors import MissingExtraError
from dropkit.studies.result import TrialRecord
from dropkit.studies.trial import Point, Trial


class TensorBoard:
    """Writes every report and final metric under ``folder/arm/replicate``.

    Args:
        folder: What ``tensorboard --logdir`` is given.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - needs an extra
        except ImportError as error:
            message = "logging there needs tensorboard: pip install 'dropkit[tensorboard]'."
            raise MissingExtraError(message) from error
        self._new_writer = SummaryWriter
        self._folder = Path(folder)
        self._open: dict[tuple[int, str], Any] = {}

    def began(self, trial: Trial) -> None:
        """Begin a run; what an attempt that was cut off left behind is hidden."""
        where = self._folder / trial.arm.name.replace("/", "_") / f"replicate-{trial.replicate + 1}"
        key = trial.replicate, trial.arm.name
        self._open[key] = self._new_writer(str(where), purge_step=0)

    def reported(self, trial: Trial, point: Point) -> None:
        """A point of each curve."""
        writer = self._open[trial.replicate, trial.arm.name]
        for name, value in point.metrics.items():
            writer.add_scalar(name, value, point.step)
        writer.flush()

    def ended(self, record: TrialRecord) -> None:
        """The final metrics, or why there are none, and the end of the run."""
        writer = self._open.pop((record.replicate, record.arm), None)
        if writer is None:
            return
        last = record.points[-1].step if record.points else 0
        for name, value in record.metrics.items():
            writer.add_scalar(f"final/{name}", value, last)
        if record.error is not None:
            writer.add_text("error", record.error)
        writer.close()

    def close(self) -> None:
        """End the runs that were cut off."""
        for writer in self._open.values():
            writer.close()
        self._open.clear()
