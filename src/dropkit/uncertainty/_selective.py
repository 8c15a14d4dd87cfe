"""What is risked when only the surest answers are given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dropkit.errors import DataError, ShapeError


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The error among the answers given, for every number of answers that could be given.

    Attributes:
        coverage: ``(m,)`` float64, ascending: share of the examples that are answered. Examples of
            equal score are answered together.
        risk: ``(m,)`` float64: share of the answers that are wrong.
        threshold: ``(m,)`` float64: least score that is answered.
        aurc: Area under the curve, in [0, 1]: the mean over examples of the risk when those of at
            least its score are answered; low is good.
    """

    coverage: Tensor
    risk: Tensor
    threshold: Tensor
    aurc: float


def risk_coverage(scores: Tensor, correct: Tensor) -> RiskCoverage:
    """Let ever less sure answers be given, and say how many are wrong.

    Args:
        scores: ``(n,)`` finite; the higher, the surer. For a score of doubt, such as an entropy,
            give its negative.
        correct: ``(n,)`` bool.

    Raises:
        ShapeError: There are no examples, or not one score for each.
        DataError: A score is not finite, or `correct` is not true or false.

    Source:
        Geifman, Uziel and El-Yaniv 2019, ICLR, arXiv:1805.08206.

    >>> curve = risk_coverage(torch.tensor([0.9, 0.5, 0.7]), torch.tensor([True, False, True]))
    >>> curve.risk.tolist(), round(curve.aurc, 4)
    ([0.0, 0.0, 0.3333333333333333], 0.1111)
    """
    scores, wrong = checked_answers(scores, correct)
    ordered, order = scores.sort(descending=True)
    n = len(scores)
    n_answered = torch.arange(1, n + 1, dtype=torch.float64, device=scores.device)
    risk = wrong[order].cumsum(0) / n_answered
    # of equal scores the last one stands for all
    is_last = torch.ones(n, dtype=torch.bool, device=scores.device)
    is_last[:-1] = ordered[:-1] != ordered[1:]
    coverage = n_answered[is_last] / n
    shares = coverage.diff(prepend=coverage.new_zeros(1))
    aurc = float((risk[is_last] * shares).sum())
    return RiskCoverage(coverage, risk[is_last], ordered[is_last], aurc)


def checked_answers(scores: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and 1 where an answer is wrong, both ``(n,)`` float64."""
    if scores.dim() != 1 or scores.shape != correct.shape or not len(scores):
        raise ShapeError(
            "`scores` and `correct` must be of one length, at least 1; got shapes "
            f"{tuple(scores.shape)} and {tuple(correct.shape)}."
        )
    if not bool(scores.isfinite().all()):
        raise DataError("`scores` must be finite; got nan or an infinity.")
    if not bool(((correct == 0) | (correct == 1)).all()):
        raise DataError("`correct` must be true or false for each example; got other numbers.")
    return scores.detach().double(), 1.0 - correct.to(scores.device).double()
