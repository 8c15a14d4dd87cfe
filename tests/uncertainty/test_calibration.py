"""Measures of calibration agree with closed forms, with torchmetrics and with simulated truth."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from dropkit.errors import DataError, DkError, OptionError, ShapeError
from dropkit.uncertainty import (
    auroc,
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)


def calibrated(n: int, seed: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits ``(n, 3)``, and labels drawn from the softmax of them over `temperature`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    p = (logits / temperature).softmax(-1)
    return logits, torch.multinomial(p, 1, generator=generator).squeeze(1)


def test_against_torchmetrics() -> None:
    """With bins of equal width the error is torchmetrics'."""
    logits, labels = calibrated(500, 0, temperature=2.0)
    p = logits.softmax(-1)
    for bins in (1, 5, 15):
        found = reliability(p, labels, bins=bins)
        theirs = multiclass_calibration_error(p.float(), labels, 3, n_bins=bins)
        assert found.error == pytest.approx(float(theirs), abs=1e-5)
        worst = multiclass_calibration_error(p.float(), labels, 3, n_bins=bins, norm="max")
        assert found.worst == pytest.approx(float(worst), abs=1e-5)


def test_adaptive_bins() -> None:
    """They hold as many each, in order of confidence; by hand."""
    p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    found = reliability(p, torch.tensor([0, 1, 0, 1]), bins=2, adaptive=True)
    assert [2, 2] == found.count.tolist()
    assert [0.65, 0.85] == pytest.approx(found.confidence.tolist())
    assert [1.0, 0.5] == found.accuracy.tolist()
    assert found.error == pytest.approx((0.35 + 0.35) / 2)


def test_empty_bins() -> None:
    """A bin without examples has no confidence, and no say."""
    found = reliability(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), bins=2)
    assert {
        "confidence": [None, 1.0],
        "accuracy": [None, 1.0],
        "count": [0, 1],
        "error": 0.0,
        "worst": 0.0,
    } == found.to_dict()


@pytest.mark.parametrize("adaptive", [False, True])
def test_calibrated_model(adaptive: bool, seed: int) -> None:
    """Of a model that is calibrated the error is near 0; of one that is not it is its gap."""
    logits, labels = calibrated(100_000, seed)
    assert reliability(logits.softmax(-1), labels, adaptive=adaptive).error < 0.01
    logits, labels = calibrated(100_000, seed, temperature=2.0)
    p, truth = logits.softmax(-1), (logits / 2.0).softmax(-1)
    gap = (p.amax(-1) - truth.amax(-1)).mean().item()
    assert reliability(p, labels, adaptive=adaptive).error == pytest.approx(gap, abs=0.01)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_found(temperature: float, seed: int, false_alarm: float) -> None:
    """The temperature that labels were drawn at is found, as far as the likelihood can tell."""
    logits, labels = calibrated(20_000, seed, temperature)
    n = len(labels)

    def loss(t: float) -> float:
        return negative_log_likelihood((logits / t).softmax(-1), labels)

    found = fit_temperature(logits, labels)
    twice_the_gain = 2 * n * (loss(temperature) - loss(found))  # one parameter: chi-squared
    assert stats.chi2(1).sf(twice_the_gain) > false_alarm, f"DK_TEST_SEED={seed}"
    assert loss(found) <= min(loss(found * 1.001), loss(found / 1.001))


def test_temperature_check_can_fail(seed: int, false_alarm: float) -> None:
    """The check tells 2.5 from 2.3."""
    logits, labels = calibrated(20_000, seed, 2.5)
    losses = [negative_log_likelihood((logits / t).softmax(-1), labels) for t in (2.3, 2.5)]
    assert stats.chi2(1).sf(2 * 20_000 * (losses[0] - losses[1])) < false_alarm


def test_temperature_of_perfect_answers() -> None:
    """Where all answers are right the temperature is low; where all are wrong it is high."""
    logits = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) < 0.3
    assert fit_temperature(logits, torch.tensor([1, 0])) > 100


def test_scores_by_hand() -> None:
    """Brier score and log likelihood; the latter is infinite where the truth had no chance."""
    p, labels = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]]), torch.tensor([0, 1])
    assert brier_score(p, labels) == pytest.approx((0.09 + 0.04 + 0.01 + 0.5) / 2)
    expected = -(math.log(0.7) + math.log(0.5)) / 2
    assert negative_log_likelihood(p, labels) == pytest.approx(expected)
    assert math.inf == negative_log_likelihood(p, torch.tensor([0, 2]))


def test_auroc_against_scipy() -> None:
    """It is Mann and Whitney's U over all pairs, with ties, and for scores of any size."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 40, (300,), generator=generator).double() * 1000
    which = torch.rand(300, generator=generator) < 0.3
    u = stats.mannwhitneyu(scores[which], scores[~which]).statistic
    assert auroc(scores, which) == pytest.approx(u / (which.sum() * (~which).sum()).item())
    assert auroc(-scores, which) == pytest.approx(1 - auroc(scores, which))


P, LABELS = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
NO_LABEL = "labels must have shape (1,), one for each answer; got (2,)."
NO_ROW = "`probabilities` must be at least 0 and sum to 1 in each row; one does not."


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reliability(P, LABELS, bins=0), OptionError, "`bins` must be at least 1; got 0."),
        (lambda: reliability(P * 2, LABELS), DataError, NO_ROW),
        (lambda: brier_score(P * torch.nan, LABELS), DataError, NO_ROW),
        (
            lambda: reliability(P[0], LABELS),
            ShapeError,
            "`probabilities` must have shape (n, C), n above 0; got (2,).",
        ),
        (lambda: brier_score(P, torch.tensor([0, 1])), ShapeError, NO_LABEL),
        (
            lambda: negative_log_likelihood(P, torch.tensor([2])),
            DataError,
            "labels must be whole numbers in [0, 2); got others.",
        ),
        (
            lambda: fit_temperature(P * torch.inf, LABELS),
            DataError,
            "`logits` must be finite; got nan or an infinity.",
        ),
        (
            lambda: fit_temperature(P[:0], LABELS[:0]),
            ShapeError,
            "`logits` must have shape (n, C), n above 0; got (0, 2).",
        ),
        (
            lambda: auroc(torch.ones(2), torch.tensor([True, True])),
            DataError,
            "`is_positive` must hold both kinds; got one kind only.",
        ),
        (
            lambda: auroc(torch.ones(2) * torch.nan, torch.tensor([True, False])),
            DataError,
            "`scores` must be numbers; got nan.",
        ),
        (
            lambda: auroc(torch.ones(3), torch.tensor([True, False])),
            ShapeError,
            "`scores` and `is_positive` must be of one length; got shapes (3,) and (2,).",
        ),
    ],
)
def test_bad_input(call: Callable[[], Any], error: type[DkError], message: str) -> None:
    """What cannot be measured is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        call()
