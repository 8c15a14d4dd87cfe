"""What a fit may measure of a trained model, beside its loss."""

import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.errors import MissingExtraError


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss, accuracy, calibration error and Brier score of a classifier.

    Args:
        logits: ``(n, classes)`` float, one row an example.
        labels: ``(n,)`` int64.

    Returns:
        ``loss`` in nats; ``accuracy`` and ``ece`` in [0, 1]; ``brier`` in [0, 2], 0 is best.

    Source:
        Brier 1950, Monthly Weather Review 78 (summed over the classes); see `calibration_error`.

    >>> measured = classification_metrics(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    >>> round(measured["brier"], 3)
    0.5
    """
    probabilities = logits.softmax(1)
    truth = F.one_hot(labels, logits.shape[1])
    return {
        "loss": F.cross_entropy(logits, labels).item(),
        "accuracy": (logits.argmax(1) == labels).float().mean().item(),
        "ece": calibration_error(probabilities, labels),
        "brier": (probabilities - truth).square().sum(1).mean().item(),
    }


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error over 15 equal bins of confidence, in [0, 1].

    Args:
        probabilities: ``(n, classes)`` float, rows sum to 1.
        labels: ``(n,)`` int64.

    Raises:
        MissingExtraError: torchmetrics is not installed.

    Source:
        Guo et al. 2017, ICML, "On calibration of modern neural networks"; torchmetrics.
    """
    try:
        from torchmetrics.functional.classification import (  # noqa: PLC0415 - in an extra
            multiclass_calibration_error,
        )
    except ImportError as error:
        message = "the calibration error needs torchmetrics: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
    n_classes = probabilities.shape[1]
    return float(multiclass_calibration_error(probabilities, labels, n_classes, n_bins=15))


def ablation_rise(layer: nn.Module, loss: Callable[[], float], *, units: int) -> float:
    """How much the loss rises, on average, when one unit of `layer` is silenced.

    A network that leans on single units loses much with one; dropout is meant to prevent that.

    Args:
        layer: Its output's last dimension holds the units, at least `units` of them.
        loss: Measures the model that `layer` is part of, in evaluation.
        units: How many are tried, one at a time, from the first on.

    Source:
        Morcos et al. 2018, ICLR, arXiv:1803.06959 (reliance on single directions).

    >>> layer = nn.Identity()
    >>> ablation_rise(layer, lambda: -layer(torch.ones(1, 4)).sum().item(), units=4)
    1.0
    """
    with torch.no_grad():
        whole = loss()
        rise = 0.0
        for unit in range(units):
            with _silenced(layer, unit):
                rise += loss() - whole
    return rise / units


@contextlib.contextmanager
def _silenced(layer: nn.Module, unit: int) -> Iterator[None]:
    def silence(_: nn.Module, __: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[..., unit] = 0.0
        return output

    handle = layer.register_forward_hook(silence)
    try:
        yield
    finally:
        handle.remove()
