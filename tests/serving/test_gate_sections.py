"""What a policy may ask of each kind of report, on the reports that dropkit writes."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dropkit
from dropkit.errors import OptionError
from dropkit.reporting._json import json_text
from dropkit.serving import Monitor, gate
from dropkit.serving.releasing import SECTIONS

POLICY = Path(__file__).resolve().parents[2] / "examples" / "policy.toml"
Ask = Callable[[str, Any], tuple[bool, str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Hold one report against one line, such as ``guard.draws = 0``."""

    def held(line: str, report: Any) -> tuple[bool, str]:
        (tmp_path / "policy.toml").write_text(line, "utf-8")
        (tmp_path / "report.json").write_text(json_text(report), "utf-8")
        [outcome] = gate(tmp_path / "policy.toml", [tmp_path / "report.json"]).outcomes
        return outcome.is_passed, outcome.found

    return held


def _model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))


def test_guard(ask: Ask) -> None:
    """Masks, forwards in training mode, and forwards at all."""
    model, batch = _model(), torch.ones(3, 4)
    with dropkit.guard(model, action="count") as watch:
        model(batch)
        model(batch)
        model.eval()(batch)
    report = watch.to_dict()
    assert ask("guard.draws = 0", report) == (False, "2")
    assert ask("guard.draws = 2", report) == (True, "2")
    assert ask("guard.in-training-mode = 0", report) == (False, "2")
    assert ask("guard.moved-generator = 0", report) == (True, "0")
    assert ask("guard.forwards = 4", report) == (False, "3")


def test_freeze(ask: Ask) -> None:
    """What the proof counts; without an exported graph its operators are not known."""
    report = dropkit.freeze(_model(), torch.ones(3, 4)).proof.to_dict()
    assert ask("freeze.draws = 0", report) == (True, "0")
    assert ask("freeze.dropout-operators = 0", report) == (True, "0")
    assert ask("freeze.not-proved = 0", report) == (True, "0")
    report |= {"dropout_operators": None, "not_proved": ["no graph"]}
    assert ask("freeze.dropout-operators = 0", report) == (False, "not measured")
    assert ask("freeze.not-proved = 0", report) == (False, "1")


def test_probe(ask: Ask) -> None:
    """A symptom that could not be looked for is not absent."""
    answers = iter(range(100))
    changing = dropkit.probe(lambda _: {"decision": next(answers)}, ["a"] * 20).to_dict()
    steady = dropkit.probe(lambda _: {"decision": 1}, ["a", "b"]).to_dict()
    assert ask("probe.symptoms = 0", changing) == (False, "confusing hand-over")
    assert ask("probe.symptoms = 1", changing)[0]
    assert ask("probe.symptoms = 0", steady) == (True, "none seen")
    assert ask('probe.absent = ["confusing hand-over"]', changing) == (False, "confusing hand-over")
    assert ask('probe.absent = ["confusing hand-over"]', steady) == (True, "absent")
    assert ask('probe.absent = ["noisy retrieval"]', steady) == (
        False,
        "cannot tell: noisy retrieval",
    )
    assert ask("probe.failed = 0", steady) == (True, "0")
    assert ask("probe.failed = 0.2", {**steady, "failed": 1}) == (True, "0.2")
    assert ask("probe.p99-s = 1", steady)[0]


def test_unknown_symptom(ask: Ask) -> None:
    """The words that may stand are listed."""
    message = (
        "`probe.absent` must hold words out of slower answers, weaker grounding, noisy retrieval, "
        "confusing hand-over; got 'noise'."
    )
    with pytest.raises(OptionError, match=re.escape(message) + "$"):
        ask('probe.absent = ["noise"]', {})


def test_service(ask: Ask) -> None:
    """What a monitor counted; a share of nothing is not measured."""
    monitor = Monitor()
    for i in range(20):
        monitor.observe(latency_s=0.02 if i else 30.0, handed_over=i < 5)
    monitor.repeated(is_same=True)
    monitor.repeated(is_same=False)
    report = monitor.record_baseline().to_dict()
    assert ask("service.p95-s = 0.03", report) == (True, "0.02512")
    assert ask("service.p95-s = 0.02", report) == (False, "0.02512")
    assert ask("service.disagreement-p95 = 1", report) == (False, "not measured")
    assert ask("service.handed-over = 0.2", report) == (False, "0.25")
    assert ask("service.differing = 0", report) == (False, "1")
    assert ask("service.repeats = 2", report) == (True, "2")
    assert ask("service.answers = 21", report) == (False, "20")
    slow = Monitor()
    slow.observe(latency_s=30.0)
    report = slow.record_baseline().to_dict()
    assert ask("service.p95-s = 60", report) == (False, "beyond the last bin")
    assert ask("service.differing = 0", report) == (False, "not measured")


def _estimate(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def _memorization() -> dict[str, Any]:
    """As `dropkit.memorization(...).to_dict()` has it."""

    def side(exact: float) -> dict[str, Any]:
        return {"exact": _estimate(exact), "near": _estimate(exact + 0.1), "n": 9, "n_too_short": 0}

    def exposure(value: float, repeats: int) -> dict[str, Any]:
        return {"repeats": repeats, "exposure": _estimate(value), "greatest": 20.0, "method": "s"}

    return {
        "train_loss": _estimate(1.0),
        "held_out_loss": _estimate(1.3),
        "gap": _estimate(0.3),
        "attacks": {
            "loss": {"auc": _estimate(0.6), "true_positive_rates": {}},
            "min_k": {"auc": _estimate(0.7), "true_positive_rates": {}},
        },
        "extractions": [
            {"prefix": 4, "continuation": 16, "train": side(0.1), "held_out": side(0.0)},
            {"prefix": 16, "continuation": 16, "train": side(0.2), "held_out": side(0.0)},
        ],
        "exposures": [exposure(9.0, 0), exposure(3.0, 4)],
        "n_train": 9,
        "n_held_out": 9,
        "n_shared": 2,
        "confidence": 0.95,
    }


@pytest.mark.parametrize(
    ("key", "worst"),
    [
        ("membership-auc", "0.7 (0.65 to 0.75)"),
        ("extracted", "0.2 (0.15 to 0.25)"),
        ("nearly-extracted", "0.3 (0.25 to 0.35)"),
        ("exposure", "3 (2.95 to 3.05)"),  # of what was planted
        ("gap", "0.3 (0.25 to 0.35)"),
        ("shared", "2"),
    ],
)
def test_memorization(ask: Ask, key: str, worst: str) -> None:
    """Of several attacks, prefixes and canaries the worst counts, and of that its upper end."""
    report = _memorization()
    value, high = float(worst.split(maxsplit=1)[0]), float(worst.rsplit(maxsplit=1)[-1].rstrip(")"))
    assert ask(f"memorization.{key} = {high + 0.001}", report) == (True, worst)
    assert ask(f"memorization.{key} = {high - 0.001}", report) == (False, worst)
    assert high >= value


def test_memorization_that_was_not_measured(ask: Ask) -> None:
    """Without canaries there is no exposure, and of one model nothing is known to be forgotten."""
    report = {**_memorization(), "exposures": []}
    assert ask("memorization.exposure = 9", report) == (False, "not measured")
    assert ask("memorization.forgotten = 9", report) == (False, "not measured")


def _finetuned(*, replicates: int) -> dict[str, Any]:
    """As ``dropkit finetune`` has it: arm "0.1" was kept, "0" remembers everything."""
    measures = {"membership_auc": _estimate(0.55), "min_k_auc": _estimate(0.5, 0.2)}
    measures |= {"extracted_train": _estimate(0.01, 0.005), "forgotten": _estimate(0.2)}
    kept = {"name": "0.1", "measures": measures, "memorization": [_memorization()] * replicates}
    bad = {"name": "0", "measures": {"membership_auc": _estimate(0.99)}, "memorization": []}
    return {
        "format": "dropkit finetune",
        "version": 1,
        "arms": [bad, kept],
        "adapter": {"arm": "0.1", "rate": 0.1},
        "study": {},
    }


def test_finetuning(ask: Ask) -> None:
    """The arm that was kept counts, over its replicates, by the worst of the attacks."""
    report = _finetuned(replicates=3)
    assert ask("memorization.membership-auc = 0.71", report) == (True, "0.5 (0.3 to 0.7)")
    assert ask("memorization.membership-auc = 0.69", report)[0] is False
    assert ask("memorization.extracted = 0.02", report) == (True, "0.01 (0.005 to 0.015)")
    assert ask("memorization.forgotten = 0.3", report) == (True, "0.2 (0.15 to 0.25)")
    assert ask("memorization.exposure = 1", report) == (False, "not measured")
    assert ask("memorization.shared = 0", report) == (False, "2")


def test_finetuning_of_one_replicate(ask: Ask) -> None:
    """There is no interval over replicates, but the one of the model itself; else none is kept."""
    report = _finetuned(replicates=1)
    alone = {"value": 0.55, "low": float("-inf"), "high": float("inf")}
    report["arms"][1]["measures"] |= {"membership_auc": alone, "forgotten": alone}
    assert ask("memorization.membership-auc = 0.8", report) == (True, "0.7 (0.65 to 0.75)")
    assert ask("memorization.forgotten = 9", report) == (False, "0.55, without an interval")


def test_finetuning_that_kept_nothing(ask: Ask) -> None:
    """No trial was finished: nothing is known."""
    report = {**_finetuned(replicates=2), "adapter": None}
    assert ask("memorization.gap = 9", report) == (False, "not measured")


def test_example_policy() -> None:
    """It asks about each kind of report, in words that the gate knows."""
    asked = tomllib.loads(POLICY.read_text("utf-8"))
    assert set(asked) == {section.name for section in SECTIONS}


def test_example_policy_is_shut_without_evidence(tmp_path: Path) -> None:
    """With one report of nine, all lines but its own say which report is missing."""
    report = tmp_path / "freeze.json"
    proof = dropkit.freeze(_model(), torch.ones(3, 4)).proof
    report.write_text(json.dumps(proof.to_dict()), "utf-8")
    release = gate(POLICY, [report])
    passed = [outcome.rule for outcome in release.outcomes if outcome.is_passed]
    assert passed == ["freeze.draws", "freeze.dropout-operators"]
    assert all(
        outcome.found == "no report" and outcome.next_step.startswith("Hand over the JSON of ")
        for outcome in release.outcomes
        if not outcome.is_passed
    )
