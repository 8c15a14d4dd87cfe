"""What a run of a model answers: the loss, and some of its output."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dropkit.errors import OptionError
from dropkit.tracing._walks import Array

#: Elements of the output that are kept of a run, and predictions.
_KEPT = 4096

#: From what a model gives to one number, or to several, one an example say.
Loss = Callable[[Any], Tensor]


class Answer(NamedTuple):
    """Of one run.

    Attributes:
        loss: ``(q,)``; empty where there is none.
        output: ``(q,)``, elements of the floating tensors of the output.
        predictions: ``(q,)``, where the largest number is along the last dimension.
    """

    loss: Array
    output: Array
    predictions: Array


class Reader:
    """Makes answers of outputs, of the same elements each time.

    Args:
        loss: None takes ``output.loss`` or ``output["loss"]`` where there is one.
    """

    def __init__(self, loss: Loss | None) -> None:
        self._loss = loss
        self._elements: Tensor | None = None
        self._rows: Tensor | None = None

    def loss_of(self, output: Any) -> Tensor | None:
        """The loss as it comes, with its gradient; None where there is none."""
        if self._loss is None:
            return own_loss(output)
        found: object = self._loss(output)
        if not isinstance(found, Tensor) or not found.is_floating_point():
            raise OptionError(
                "`loss` must return a floating-point tensor, one number or one an example; "
                f"got {_said(found)}."
            )
        return found

    def read(self, output: Any) -> Answer:
        """The answer of one run."""
        loss = self.loss_of(output)
        if loss is not None and not bool(loss.isfinite().all()):
            raise OptionError("`loss` must be finite on this batch; got nan or infinity.")
        tensors = [x.detach() for x in tensors_of(output)]
        flat = torch.cat([x.reshape(-1).double().cpu() for x in tensors] or [torch.zeros(0)])
        if self._elements is None:
            self._elements = _some(flat.isfinite().nonzero().flatten())
        predictions = torch.zeros(0, dtype=torch.int64)
        scores = max(tensors, key=lambda x: x.numel(), default=None)
        if scores is not None and scores.dim() and scores.shape[-1] > 1:
            predictions = scores.argmax(-1).reshape(-1).cpu()
            if self._rows is None:
                self._rows = _some(torch.arange(len(predictions)))
            predictions = predictions[self._rows]
        return Answer(
            torch.zeros(0).numpy() if loss is None else _numpy(loss),
            torch.nan_to_num(flat[self._elements]).numpy(),
            predictions.numpy(),
        )


def own_loss(output: Any) -> Tensor | None:
    """The loss that a model computes itself."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return found if isinstance(found, Tensor) and found.is_floating_point() else None


def tensors_of(output: Any) -> Iterator[Tensor]:
    """The floating tensors that a model gives, its own loss left out."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            if key != "loss":
                yield from tensors_of(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from tensors_of(value)


def _some(indices: Tensor) -> Tensor:
    """At most so many as are kept, drawn once and for all."""
    if len(indices) <= _KEPT:
        return indices
    chosen = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))[:_KEPT]
    return indices[chosen.sort().values]


def _numpy(x: Tensor) -> Array:
    return x.detach().reshape(-1).double().cpu().numpy()


def _said(found: object) -> str:
    return str(found.dtype) if isinstance(found, Tensor) else f"a {type(found).__name__}"
