"""A probe finds each of the four complaints where it was planted, and none where there is none."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import DataError
from dropkit.serving import probe
from dropkit.serving._shares import median_of, share_of

TEXTS = [f"text {number}" for number in range(12)]


class Encoder(nn.Module):
    """From a text to a vector; dropout may be forgotten in training mode."""

    def __init__(self, rate: float, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(64, width)
        self.drop = nn.Dropout(rate)
        self.head = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(1, steps)`` to ``(1, width)``."""
        return self.head(self.drop(self.embedding(tokens))).mean(1)


def tokens(text: str) -> Tensor:
    """A number a letter."""
    return torch.tensor([[ord(letter) % 64 for letter in text]])


@torch.no_grad()
def embeds(model: nn.Module) -> Callable[[str], dict[str, Any]]:
    """A service that embeds."""
    return lambda text: {"embedding": model(tokens(text))[0]}


def symptoms(found: Any) -> dict[str, bool | None]:
    """What was found."""
    return {one.name: one.is_present for one in found.symptoms}


def test_clean_service() -> None:
    """In eval mode there is no complaint, and each number says so."""
    model = Encoder(0.5).eval()
    found = probe(embeds(model), TEXTS, model=model)
    assert {
        "slower answers": False,
        "weaker grounding": None,
        "noisy retrieval": False,
        "confusing hand-over": None,
    } == symptoms(found)
    assert (12, 24, 0, ()) == (found.requests, found.calls, found.failed, found.present)
    assert "No dropout is at work: none of 24 forwards drew a mask." == found.symptoms[0].cause
    assert "All 12 texts got the same embedding twice." == found.symptoms[2].sentence


def test_noisy_retrieval() -> None:
    """A forgotten training mode: the cosine, the neighbours, and dropout as the cause."""
    model = Encoder(0.5).train()
    found = probe(embeds(model), TEXTS, model=model, neighbours=3)
    symptom = found.symptoms[2]
    assert symptom.is_present
    assert symptom.numbers["cosine_least"] < symptom.numbers["cosine_mean"] < 0.99
    assert symptom.numbers["neighbours_kept"] < 0.99
    assert abs(symptom.numbers["cosine_least_silenced"] - 1) < 1e-6
    assert "Dropout: with the model's silenced it is gone. It draws at 'drop'." == symptom.cause
    assert model.training
    assert 0.5 == model.drop.p
    assert (1.0, 1.0) == (
        found.symptoms[0].numbers["training_mode_share"],
        found.symptoms[0].numbers["draws_share"],
    )


def test_noise_of_elsewhere() -> None:
    """What is still there when dropout is silenced has another cause."""
    model = Encoder(0.5).eval()
    inner = embeds(model)
    found = probe(
        lambda x: {"embedding": inner(x)["embedding"] + torch.rand(32)}, TEXTS, model=model
    )
    assert found.symptoms[2].is_present
    assert (
        "With dropout silenced it is still there: something else is random."
        == found.symptoms[2].cause
    )


class Slow(nn.Module):
    """Takes a moment longer when it drops."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """A mask that takes two milliseconds."""
        y = self.drop(x)
        if not torch.equal(x, y):
            time.sleep(0.002)
        return y


def test_slower_answers() -> None:
    """What dropout costs is measured in turns, with an interval."""
    model = Slow()
    found = probe(lambda _: model(torch.ones(64))[0].item() > -1, TEXTS, model=model)
    symptom = found.symptoms[0]
    assert symptom.is_present
    assert 0.0015 < symptom.numbers["dropout_s_low"] <= symptom.numbers["dropout_s"]
    assert 0.5 < symptom.numbers["dropout_share"] <= 1.0
    assert "24 of 24 forwards drew masks, 100% of them in training mode" in str(symptom.cause)


def test_flips() -> None:
    """A decision that changes from pass to pass, with an exact interval."""
    model = nn.Sequential(nn.Dropout(0.5)).train()
    found = probe(
        lambda text: {"decision": bool(model(torch.ones(1)).item()) if "1" in text else "same"},
        TEXTS,
        model=model,
        repeats=20,
    )
    symptom = found.symptoms[3]
    assert symptom.is_present
    assert 3 / 12 == symptom.numbers["flip_rate"]  # 1, 10, 11
    assert (0.0, "Dropout") == (symptom.numbers["flip_rate_silenced"], symptom.cause[:7])
    assert "3 of 12 requests got another decision in 20 passes" in symptom.sentence


def answers(probabilities: list[dict[str, float]]) -> Callable[[int], dict[str, Any]]:
    """A service that answers request i with row i."""
    return lambda i: {"probabilities": probabilities[i]}


def test_calibration() -> None:
    """Too sure: more than a calibrated service would show by chance; a calibrated one is silent."""
    generator = torch.Generator().manual_seed(0)
    n = 300
    truth = (torch.rand(n, generator=generator) < 0.7).tolist()
    labels = ["yes" if one else "no" for one in truth]
    sure = probe(answers([{"yes": 0.95, "no": 0.05}] * n), range(n), labels=labels)
    fair = probe(answers([{"no": 0.3, "yes": 0.7}] * n), range(n), labels=labels)
    assert (True, False) == (sure.symptoms[3].is_present, fair.symptoms[3].is_present)
    assert "Its probabilities are not the shares of right answers." == sure.symptoms[3].cause
    assert abs(sure.symptoms[3].numbers["calibration_error"] - 0.25) < 0.08


def test_hand_over_by_a_threshold() -> None:
    """Where the service does not say, the hand-over decides who answers."""
    handoff = dropkit.uncertainty.Handoff(0.6, 0.1, 0.05, 100, 50, 1, 0.01)
    rows = iter([[0.7, 0.3], [0.7, 0.3], [0.55, 0.45]])  # the first is the warm-up
    found = probe(lambda _: next(rows), ["one"], handoff=handoff)
    assert found.symptoms[3].is_present


def test_grounding(tmp_path: Path) -> None:
    """Gap and AUC are read from a report of memorization, by arm, or by its verdict."""
    arms = {}
    for name, auc in (("dropout 0", 0.9), ("dropout 0.1", 0.45)):
        arms[name] = {
            "gap": {"value": 1.0, "low": 0.5, "high": 1.5},
            "attacks": {"loss": {"auc": {"value": auc, "low": auc - 0.1, "high": auc + 0.1}}},
        }
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"memorization": arms, "verdict": {"best": "dropout 0"}}), "utf-8")
    found = probe(lambda _: "a", ["x"], report=path).symptoms[1]
    assert (True, 0.9, 1.0) == (found.is_present, found.numbers["auc"], found.numbers["gap"])
    found = probe(lambda _: "a", ["x"], report=path, arm="dropout 0.1").symptoms[1]
    assert (False, 0.45) == (found.is_present, found.numbers["auc"])


def test_grounding_from_a_study(tmp_path: Path) -> None:
    """A study's file has the gap; what was not measured is not claimed."""
    arms = [
        {"arm": {"name": name, "choices": {}}, "means": {"gap": gap}}
        for name, gap in (("no dropout", 1.2), ("dropout 0.5", 0.4))
    ]
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"arms": arms, "verdict": {"best": "dropout 0.5"}}), "utf-8")
    found = probe(lambda _: "a", ["x"], report=path).symptoms[1]
    assert (None, 0.4) == (found.is_present, found.numbers["gap"])
    assert found.sentence.endswith("; memorization was not measured.")


@pytest.mark.parametrize(
    ("text", "arm", "message"),
    [
        ("{", None, "`report` must be a JSON file; '{}' is none."),
        (None, None, "`report` must be a file that can be read; '{}' cannot."),
        (
            '{"loss": 1}',
            None,
            "`report` must have a gap between training and held-out data; '{}' has none.",
        ),
        (
            '{"a": {"gap": 1}, "b": {"gap": 2}}',
            "c",
            "`arm` must name one of the report's; got 'c', and there are 'a', 'b'.",
        ),
        (
            '{"a": {"gap": 1}, "b": {"gap": 2}}',
            None,
            "`arm` must name one of the report's; got None, and there are 'a', 'b'.",
        ),
    ],
)
def test_bad_reports(tmp_path: Path, text: str | None, arm: str | None, message: str) -> None:
    """One sentence says what is wrong, before anything is asked."""
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(DataError, match="^" + re.escape(message.format(path)) + "$"):
        probe(lambda _: pytest.fail("asked"), ["x"], report=path, arm=arm)


def test_plain_data() -> None:
    """The whole probe is JSON."""
    model = Encoder(0.5)
    found = probe(embeds(model), TEXTS[:3], model=model).to_dict()
    again = json.loads(json.dumps(found))
    assert ("dropkit probe", 1, 4) == (again["format"], again["version"], len(again["symptoms"]))
    assert "drop" == again["guard"]["sites"][0]["site"]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (17, 400)])
def test_share(k: int, n: int) -> None:
    """The exact interval is scipy's."""
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    found = share_of(k, n)
    assert pytest.approx((k / n, wanted.low, wanted.high), abs=1e-9) == (
        found.value,
        found.low,
        found.high,
    )


def test_median() -> None:
    """Of ten values the second and the ninth hold the median in 97.9%; of five none do in 95%."""
    found = median_of([float(x) for x in range(10)])
    assert (4.5, 1.0, 8.0) == (found.value, found.low, found.high)
    assert -float("inf") == median_of([1.0, 2.0, 3.0, 4.0, 5.0]).low
