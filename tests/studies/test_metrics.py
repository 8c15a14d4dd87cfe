"""What a fit may measure, by hand."""

import math

import pytest
import torch
from torch import nn

from dropkit.studies.metrics import ablation_rise, calibration_error, classification_metrics


def test_calibration_error_by_hand() -> None:
    """Two answers at 0.9 of which one is wrong are 0.4 off."""
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
    assert calibration_error(probabilities, torch.tensor([0, 1])) == pytest.approx(0.4)


def test_classification_by_hand() -> None:
    """Half right at 3 to 1: each number from its definition."""
    logits = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0]])
    found = classification_metrics(logits, torch.tensor([0, 1]))
    assert found == pytest.approx(
        {
            "loss": -(math.log(0.75) + math.log(0.25)) / 2,
            "accuracy": 0.5,
            "ece": 0.25,
            "brier": (2 * 0.25**2 + 2 * 0.75**2) / 2,
        }
    )


def test_ablation_takes_one_unit_at_a_time() -> None:
    """The rise is the mean over units, and nothing is left behind in the layer."""
    layer = nn.Linear(2, 3, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.0], [2.0, 0.0], [6.0, 0.0]])
    model = nn.Sequential(layer, nn.Identity())
    x = torch.tensor([[1.0, 1.0]])
    assert ablation_rise(layer, lambda: -model(x).sum().item(), units=3) == pytest.approx(3.0)
    assert [[1.0, 2.0, 6.0]] == model(x).tolist()
