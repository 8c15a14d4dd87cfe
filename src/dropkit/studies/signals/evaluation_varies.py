"""The model does not answer twice alike in evaluation: dropout, or something else, is still on."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dropkit.studies.result import Signal
from dropkit.studies.signals.evidence import About, Evidence

#: The metric that a fit returns for this rule: what `evaluation_difference` gives.
METRIC = "evaluation_difference"

ABOUT = About(
    name="evaluation-varies",
    kind="workflow",
    step="Switch dropout off in evaluation (model.eval(), and `training=self.training` wherever "
    "F.dropout or dropout_p stands), then run the study again.",
    source="Two passes in evaluation are the same numbers; pytorch issue 26338, timm pull request "
    "1978 and nanoGPT issue 240 are cases where they were not",
)


def check(evidence: Evidence) -> Signal:
    """Fires where any two passes in evaluation differ at all: threshold 0."""
    found = [
        record.metrics[METRIC]
        for records in evidence.records.values()
        for record in records
        if METRIC in record.metrics
    ]
    if not found:
        return ABOUT.not_measured(
            f"Let the fit return {METRIC} from dropkit.studies.signals.evaluation_varies."
        )
    largest = max(found)
    if largest > 0.0:
        return ABOUT.fired(
            f"Two passes of one model in evaluation differ by up to {largest:.3g}.",
            largest_difference=largest,
        )
    return ABOUT.silent("Two passes in evaluation are the same to the bit.", largest_difference=0.0)


def evaluation_difference(model: nn.Module, forward: Callable[[], Tensor]) -> float:
    """The largest difference between two passes of `model` in evaluation; 0 where all is well.

    Args:
        model: Set to evaluation for the two passes, then back to the modes that it had.
        forward: Gives the model's output on one batch, twice the same one.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    >>> evaluation_difference(net, lambda: net(torch.ones(1, 2)))
    0.0
    """
    with _in_evaluation(model), torch.no_grad():
        difference = (forward() - forward()).abs()
    return float(difference.nan_to_num(nan=torch.inf).max()) if difference.numel() else 0.0


@contextlib.contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
