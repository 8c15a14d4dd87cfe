"""The study in examples/ of the demo's transformer."""

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import pytest

from dropkit.studies.trial import Trial

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_question_router_trains_in_every_arm(monkeypatch) -> None:
    """Eight steps of each arm: the metrics are finite, and no two arms are the same training."""
    for package in ("yaml", "chatterbot_corpus"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    example = importlib.import_module("question_router")
    fit = dataclasses.replace(example.fit, steps=8, n_points=1)
    found = [fit(Trial(arm, 0)) for arm in example.ARMS]
    assert all(math.isfinite(value) for metrics in found for value in metrics.values())
    assert len({metrics["validation_loss"] for metrics in found}) == len(example.ARMS)
