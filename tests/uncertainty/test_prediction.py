"""The measures of a prediction, by hand; and their standard errors, against simulated truth."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dropkit.errors import DataError, DkError, OptionError, ShapeError
from dropkit.uncertainty import MCPrediction
from dropkit.uncertainty._prediction import Kind, summarized


def made(answers: Tensor, kind: Kind = "classification") -> MCPrediction:
    """A prediction of these answers."""
    return summarized(answers.double(), kind, lambda *_: nn.Identity())


TWO = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two sub-networks that are sure of either class


def test_sure_and_divided() -> None:
    """Sub-networks that are sure of different classes: all of the entropy is disagreement."""
    found = made(TWO)
    assert [[0.5, 0.5]] == found.mean.tolist()
    assert [[0.5, 0.5]] == found.variance.tolist()
    assert [math.log(2)] == pytest.approx(found.entropy.tolist())
    assert [math.log(2)] == pytest.approx(found.mutual_information.tolist())
    assert [0.5] == found.variation_ratio.tolist()


def test_unsure_and_united() -> None:
    """Sub-networks that are all unsure: none of the entropy is."""
    found = made(torch.full((4, 1, 2), 0.5))
    assert [math.log(2)] == pytest.approx(found.entropy.tolist())
    assert [0.0] == pytest.approx(found.mutual_information.tolist())
    assert [0.0] == found.variation_ratio.tolist()
    assert all(error.abs().max() < 1e-12 for error in found.standard_error.values())


def test_missing_answers() -> None:
    """An example that was sampled less often is measured on what it got."""
    answers = torch.rand(6, 2, 3, dtype=torch.float64)
    answers /= answers.sum(-1, keepdim=True)
    short = answers.clone()
    short[4:, 1] = torch.nan
    found, whole, part = made(short), made(answers), made(answers[:4])
    assert [6, 4] == found.samples_used.tolist()
    for name in ("mean", "variance", "entropy", "mutual_information", "variation_ratio"):
        value, error = getattr(found, name), found.standard_error[name]
        for i, twin in enumerate((whole, part)):
            torch.testing.assert_close(value[i], getattr(twin, name)[i])
            torch.testing.assert_close(error[i], twin.standard_error[name][i])
    labels = torch.tensor([2, 0])
    for i, twin in enumerate((whole, part)):
        pairs = zip(found.log_likelihood(labels), twin.log_likelihood(labels), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours[i], theirs[i])
    torch.testing.assert_close(found.quantile(0.5)[1], answers[:4, 1].quantile(0.5, dim=0))


def test_log_likelihood_of_regression() -> None:
    """Equation 8 of Gal and Ghahramani 2016, term by term."""
    answers = torch.tensor([[[0.0, 1.0]], [[1.0, 3.0]], [[2.0, 2.0]]])
    y, v = torch.tensor([[1.0, 2.0]]), 0.5
    densities = [
        math.prod(
            math.exp(-((a - t) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v) for a, t in pairs
        )
        for pairs in ([(0, 1), (1, 2)], [(1, 1), (3, 2)], [(2, 1), (2, 2)])
    ]
    mean = sum(densities) / 3
    spread = math.sqrt(sum((d - mean) ** 2 for d in densities) / 2 / 3)
    found = made(answers, "regression").log_likelihood(y, noise_variance=v)
    assert [math.log(mean)] == pytest.approx(found.value.tolist())
    assert [spread / mean] == pytest.approx(found.standard_error.tolist())


def test_log_likelihood_far_off() -> None:
    """Where every density underflows the log is still right."""
    found = made(torch.tensor([[[0.0]], [[0.0]]]), "regression")
    value, error = found.log_likelihood(torch.tensor([[100.0]]), noise_variance=0.01)
    assert value.item() == pytest.approx(-500_000 - 0.5 * math.log(0.02 * math.pi))
    assert error.item() == 0.0


def test_answers_of_one_dimension() -> None:
    """A regression may give one number an example, without a dimension of its own."""
    flat, deep = torch.rand(5, 3), torch.rand(5, 3, 1)
    deep[..., 0] = flat
    y = torch.rand(3)
    one, other = made(flat, "regression"), made(deep, "regression")
    assert torch.equal(one.mean, other.mean.squeeze(1))
    ours = one.log_likelihood(y, noise_variance=0.1)
    theirs = other.log_likelihood(y.unsqueeze(1), noise_variance=0.1)
    assert torch.equal(ours.value, theirs.value)


def test_token_by_token() -> None:
    """Answers may have more dimensions: a distribution at each place of a sequence."""
    answers = torch.rand(5, 2, 7, 3).softmax(-1)
    found = made(answers)
    one = made(answers[:, :, 4])
    assert (2, 7) == found.entropy.shape
    for name in ("entropy", "mutual_information", "variation_ratio"):
        torch.testing.assert_close(getattr(found, name)[:, 4], getattr(one, name))
        torch.testing.assert_close(found.standard_error[name][:, 4], one.standard_error[name])
    labels = torch.randint(0, 3, (2, 7))
    ours, theirs = found.log_likelihood(labels), one.log_likelihood(labels[:, 4])
    torch.testing.assert_close(ours.value[:, 4], theirs.value)


@pytest.mark.parametrize(
    "name", ["mean", "variance", "entropy", "mutual_information", "variation_ratio", "likelihood"]
)
def test_standard_errors(name: str, seed: int) -> None:
    """Over 4,000 predictions of one law the standard error is the spread, within a tenth."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.tensor([1.0, 0.0, 0.2]) + torch.randn(200, 4000, 3, generator=generator)
    found = made(logits.double().softmax(-1))
    if name == "likelihood":
        value, error = found.log_likelihood(torch.zeros(4000, dtype=torch.int64))
    else:
        value, error = getattr(found, name), found.standard_error[name]
    ratio = error.square().mean(0).sqrt() / value.std(0)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.1, atol=0.0)


REGRESSION = made(torch.rand(3, 2, 1), "regression")
Y = torch.zeros(2, 1)


@pytest.mark.parametrize(
    ("found", "targets", "how", "error", "message"),
    [
        (made(TWO), torch.tensor([2]), {}, DataError, "labels must be whole numbers in [0, 2); got others."),
        (made(TWO), torch.tensor([0.5]), {}, DataError, "labels must be whole numbers in [0, 2); got others."),
        (made(TWO), torch.tensor([0, 1]), {}, ShapeError, "labels must have shape (1,), one for each answer; got (2,)."),
        (made(TWO), torch.tensor([0]), {"noise_variance": 1.0}, OptionError, "`noise_variance` is for regression; got it for classes."),
        (REGRESSION, Y, {}, OptionError, "`noise_variance` must be above 0; got None."),
        (REGRESSION, Y, {"noise_variance": 0.0}, OptionError, "`noise_variance` must be above 0; got 0.0."),
        (REGRESSION, Y[:, 0], {"noise_variance": 1.0}, ShapeError, "`targets` must have the shape of the mean, (2, 1); got (2,)."),
        (REGRESSION, Y * torch.nan, {"noise_variance": 1.0}, DataError, "`targets` must be finite; got nan or an infinity."),
    ],
)  # fmt: skip
def test_bad_targets(
    found: MCPrediction, targets: Tensor, how: dict[str, Any], error: type[DkError], message: str
) -> None:
    """Targets that no answer can be judged by are refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        found.log_likelihood(targets, **how)


def test_bad_quantile() -> None:
    """So is a quantile outside [0, 1]."""
    message = "`q` must be in [0, 1]; got 2."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        made(TWO).quantile(2)


def test_to_dict() -> None:
    """All measures as lists, those that there are."""
    assert {
        "kind": "regression",
        "samples_used": [2],
        "mean": [1.0],
        "variance": [2.0],
        "standard_error": {"mean": [1.0], "variance": [math.sqrt(2.5)]},
    } == made(torch.tensor([[0.0], [2.0]]), "regression").to_dict()
