"""What a training costs is measured, and never taken for what it found."""

import sys

import pytest
import torch

from dropkit.studies.costs import COSTS, Costs, without_costs
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

MIB = 2**20


def test_peak_memory_sees_what_was_held() -> None:
    """What is held for a moment counts, to within a fifth."""
    costs = Costs()
    before = costs.metrics()["peak_mib"]
    held = torch.ones(100 * MIB // 4)
    assert 1.0 == held[-1]
    del held
    after = costs.metrics()["peak_mib"]
    assert 80 < after - before < 120


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")
def test_each_training_has_a_peak_of_its_own() -> None:
    """What was held before a training began does not count."""
    held = torch.ones(100 * MIB // 4)
    high = Costs().metrics()["peak_mib"]
    del held
    assert Costs().metrics()["peak_mib"] < high - 80


def test_time_of_a_step_is_the_median(monkeypatch) -> None:
    """A step that takes long by accident moves it little; what is between steps does not count."""
    now = iter([0.0, 1.0, 10.0, 12.0, 20.0, 29.0])
    costs = Costs()
    monkeypatch.setattr("dropkit.studies.costs.time.perf_counter", lambda: next(now))
    for _ in range(3):
        with costs.step():
            pass
    costs.end_step()  # none has begun
    assert 2.0 == costs.metrics()["step_s"]


def test_costs_are_no_findings() -> None:
    """Arms that are alike in all but their costs are alike."""

    def fit(trial: Trial) -> dict[str, float]:
        return {"loss": trial.replicate, "step_s": trial.arm.highest_rate, "peak_mib": 1.0}

    result = Study(fit, [Arm("none"), Arm("half", rates=0.5)], metric="loss", replicates=2).run()
    states = {signal.name: signal.state for signal in result.verdict.signals}
    assert ("fired", "silent") == (states["arms-alike"], states["replicates-alike"])
    assert {"loss": 1.0} == without_costs({"loss": 1.0, **dict.fromkeys(COSTS, 0.0)})
