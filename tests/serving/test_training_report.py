"""What a probe reads of a fine-tuning's report."""

import json
from pathlib import Path

import pytest

from dropkit.core.estimate import Estimate
from dropkit.errors import DataError
from dropkit.serving._training_report import read_grounding


def _report(folder: Path) -> Path:
    def arm(name: str, gap: float, auc: float) -> dict[str, object]:
        measures = {
            "gap": {"value": gap, "low": gap - 0.1, "high": gap + 0.1},
            "membership_auc": {"value": auc, "low": None, "high": None},
        }
        return {"name": name, "measures": measures, "memorization": [{"gap": {"value": 9.0}}]}

    path = folder / "report.json"
    arms = [arm("no dropout", 1.5, 0.9), arm("dropout 0.1", 0.5, 0.6)]
    document = {"format": "dropkit finetune", "arms": arms, "adapter": {"arm": "dropout 0.1"}}
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_arm_that_was_kept_counts(tmp_path: Path) -> None:
    """Or another one that is asked for; over replicates, not one by one."""
    found = read_grounding(_report(tmp_path), None)
    assert found.gap == Estimate(0.5, 0.4, 0.6)
    assert found.auc is not None
    assert found.auc.value == 0.6
    assert read_grounding(_report(tmp_path), "no dropout").gap.value == 1.5


def test_unknown_arm(tmp_path: Path) -> None:
    """The sentence names those that there are."""
    with pytest.raises(
        DataError, match=r"^`arm` must name one of the report's; got 'x', and there"
    ):
        read_grounding(_report(tmp_path), "x")
