"""A few numbers of each place of dropout during training."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn

from dropkit.errors import MissingExtraError, OptionError
from dropkit.tracing._probe import Probe

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from torch.utils.tensorboard import SummaryWriter
    from transformers import TrainerCallback

#: Of the file's form; the first line holds it.
VERSION = 1


class Recorder:
    """Keeps a few numbers of each site every so many steps of any training loop.

    A step that is recorded is looked at from its first forward to the call of `step`; in all
    others nothing is hooked, replaced or computed. Of each call the first 16,384 elements are
    looked at. Code under ``torch.compile``, what recurrent layers drop between their layers, and
    masks made by hand in other code than a layer's are not seen.

    Args:
        model: Which trains.
        every: Record one step of so many.
        path: A file of JSON lines, one a recorded step behind a first one; a file that is there
            is begun anew. None keeps records in memory alone.
        tensorboard: A folder for TensorBoard.

    Attributes:
        records: Of the steps so far: ``{"step": .., "sites": {name: numbers}, ..}``.

    Raises:
        OptionError: `every` is below 1.
        MissingExtraError: TensorBoard is asked for and not installed.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    >>> with Recorder(model, every=2) as recorder:
    ...     for _ in range(5):
    ...         loss = model(torch.ones(8, 2)).mean()
    ...         loss.backward()
    ...         recorder.step(loss=loss)
    >>> [record["step"] for record in recorder.records]
    [0, 2, 4]
    >>> sorted(recorder.records[0]["sites"]["1"])[:3]
    ['deviation_before', 'gradient_kept', 'gradient_scale']
    """

    def __init__(
        self,
        model: nn.Module,
        every: int = 100,
        *,
        path: str | Path | None = None,
        tensorboard: str | Path | None = None,
    ) -> None:
        if type(every) is not int or every < 1:
            raise OptionError(f"`every` must be a whole number from 1 up; got {every!r}.")
        self._model, self._every, self._step = model, every, 0
        self.records: list[dict[str, Any]] = []
        self._writer = None if tensorboard is None else _summary_writer(tensorboard)
        self._path = None if path is None else Path(path)
        self._probe: Probe | None = None
        if self._path is not None:
            first = {"dropkit_records": VERSION, "model": type(model).__name__, "every": every}
            self._path.write_text(json.dumps(first) + "\n", encoding="utf-8")
        self._probe = Probe(model)

    def step(self, **numbers: float | Tensor) -> None:
        """Say that a training step has ended.

        Args:
            numbers: Kept with a record: a loss, say. A tensor is read on recorded steps only.
        """
        if self._probe is not None and self._step % self._every == 0:
            self._keep(self._probe, numbers)
        self._step += 1
        if self._step % self._every == 0:
            self._probe = self._probe or Probe(self._model)
        elif self._probe is not None:
            self._probe.close()
            self._probe = None

    def _keep(self, probe: Probe, numbers: dict[str, float | Tensor]) -> None:
        sites = {name: sums.numbers() for name, sums in probe.sites.items()}
        probe.sites.clear()
        plain = {
            key: float(value.detach() if isinstance(value, Tensor) else value)
            for key, value in numbers.items()
        }
        record: dict[str, Any] = {"step": self._step, **plain, "sites": sites}
        self.records.append(record)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(record)) + "\n")
        if self._writer is not None:
            for name, value in _scalars(record):
                self._writer.add_scalar(name, value, self._step)
            self._writer.flush()

    def close(self) -> None:
        """Look no longer; what was kept stays."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None
        if self._writer is not None:
            self._writer.close()

    def for_trainer(self) -> "TrainerCallback":
        """A callback for Hugging Face's ``Trainer(callbacks=[...])``, which calls `step`."""
        from dropkit.tracing._trainer import trainer_callback  # noqa: PLC0415 - transformers

        return trainer_callback(self)

    def for_lightning(self) -> "Callback":
        """A callback for Lightning's ``Trainer(callbacks=[...])``, which calls `step`."""
        from dropkit.tracing._lightning import lightning_callback  # noqa: PLC0415 - lightning

        return lightning_callback(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _finite(value: Any) -> Any:
    """JSON knows neither nan nor the infinities: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scalars(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for site, numbers in record["sites"].items():
        for key, value in numbers.items():
            yield f"dropout/{key}/{site or 'model'}", value


def _summary_writer(folder: str | Path) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - extra
    except ImportError as error:
        message = "logging there needs tensorboard: pip install 'dropkit[tensorboard]'."
        raise MissingExtraError(message) from error
    return SummaryWriter(str(folder))
