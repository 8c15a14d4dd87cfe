"""Whether a share of right answers goes with each degree of confidence, and how to mend it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit.errors import DataError, OptionError, ShapeError
from dropkit.uncertainty._prediction import checked_labels

_SLACK = 1e-3  # half precision's softmax is off from 1 by as much


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence beside accuracy, bin by bin; for a picture, and for one number.

    Attributes:
        confidence: ``(bins,)`` float64: mean of the greatest probabilities in the bin; nan where it
            is empty.
        accuracy: ``(bins,)`` float64: share of them that is right; likewise.
        count: ``(bins,)`` int64.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]: the mean gap, an example a vote."""
        gaps = (self.confidence - self.accuracy).abs().nan_to_num(0.0)
        return float((gaps * self.count).sum() / self.count.sum())

    @property
    def worst(self) -> float:
        """The greatest gap of a bin, in [0, 1]."""
        return float((self.confidence - self.accuracy).abs().nan_to_num(0.0).max())

    def to_dict(self) -> dict[str, object]:
        """Bins as lists, nan as None."""
        of_bins = {
            name: [None if value != value else value for value in getattr(self, name).tolist()]  # noqa: PLR0124 - nan
            for name in ("confidence", "accuracy", "count")
        }
        return {**of_bins, "error": self.error, "worst": self.worst}


def reliability(
    probabilities: Tensor, labels: Tensor, *, bins: int = 15, adaptive: bool = False
) -> Reliability:
    """Sort predictions into bins of confidence.

    Args:
        probabilities: ``(n, C)``, rows sum to 1.
        labels: ``(n,)`` whole numbers in [0, C).
        bins: How many, at least 1.
        adaptive: False makes bins of equal width, right ends included; True of equal count, where
            equal confidences may fall into two bins.

    Raises:
        DataError: A row is no distribution, or a label no class.
        ShapeError: There are no examples, or not one label for each.
        OptionError: `bins` is below 1.

    Source:
        Guo et al. 2017, ICML, arXiv:1706.04599 (equal width); Nguyen and O'Connor 2015, EMNLP,
        arXiv:1508.05154 (equal count).

    >>> probabilities = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2]])
    >>> round(reliability(probabilities, torch.tensor([0, 0, 0, 1])).error, 3)
    0.05
    """
    labels = _checked(probabilities, labels)
    if bins < 1:
        raise OptionError(f"`bins` must be at least 1; got {bins!r}.")
    confidence, choice = probabilities.double().max(-1)
    is_right = (choice == labels).double()
    if adaptive:
        place = torch.empty_like(choice)
        order = confidence.argsort(stable=True)
        place[order] = torch.arange(len(order), device=place.device) * bins // len(order)
    else:
        ends = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)
        place = (torch.bucketize(confidence, ends) - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    sums = [torch.bincount(place, values, minlength=bins) for values in (confidence, is_right)]
    return Reliability(sums[0] / count, sums[1] / count, count)


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared distance between distribution and truth, summed over classes: in [0, 2].

    Args:
        probabilities: ``(n, C)``, rows sum to 1.
        labels: ``(n,)`` whole numbers in [0, C).

    Raises:
        DataError: A row is no distribution, or a label no class.
        ShapeError: There are no examples, or not one label for each.

    Source:
        Brier 1950, Monthly Weather Review 78.

    >>> round(brier_score(torch.tensor([[0.8, 0.2]]), torch.tensor([1])), 6)
    1.28
    """
    labels = _checked(probabilities, labels)
    truth = F.one_hot(labels, probabilities.shape[-1])
    return float((probabilities.double() - truth).square().sum(-1).mean())


def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Mean of ``-log`` of the true class's probability, in nats; infinity where one is 0.

    Args:
        probabilities: ``(n, C)``, rows sum to 1.
        labels: ``(n,)`` whole numbers in [0, C).

    Raises:
        DataError: A row is no distribution, or a label no class.
        ShapeError: There are no examples, or not one label for each.

    >>> round(negative_log_likelihood(torch.tensor([[0.5, 0.5]]), torch.tensor([1])), 6)
    0.693147
    """
    labels = _checked(probabilities, labels)
    return float(F.nll_loss(probabilities.double().log(), labels))


def auroc(scores: Tensor, is_positive: Tensor) -> float:
    """Chance that a positive example has a higher score than a negative one; ties count half.

    To detect wrong answers, or examples from elsewhere: `scores` of how unsure the model is, and
    what is wrong, or from elsewhere, as positive.

    Args:
        scores: ``(n,)`` any finite numbers: torchmetrics' function of this name would put those
            outside [0, 1] through a sigmoid, where great ones become equal.
        is_positive: ``(n,)`` bool.

    Raises:
        DataError: A score is nan, or all examples are of one kind.
        ShapeError: There is not one score for each.

    Source:
        Mann and Whitney 1947, Annals of Mathematical Statistics 18.

    >>> auroc(torch.tensor([1.0, 2.0, 3.0, 3.0]), torch.tensor([False, True, False, True]))
    0.625
    """
    if scores.dim() != 1 or scores.shape != is_positive.shape:
        raise ShapeError(
            "`scores` and `is_positive` must be of one length; got shapes "
            f"{tuple(scores.shape)} and {tuple(is_positive.shape)}."
        )
    if bool(scores.isnan().any()):
        raise DataError("`scores` must be numbers; got nan.")
    which = is_positive.bool()
    positive, negative = scores[which].double(), scores[~which].double().sort().values
    if not len(positive) or not len(negative):
        raise DataError("`is_positive` must hold both kinds; got one kind only.")
    below = torch.searchsorted(negative, positive)
    up_to = torch.searchsorted(negative, positive, right=True)
    return float((below + up_to).double().mean() / 2 / len(negative))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The number that logits are best divided by, so that their softmax says how sure to be.

    It minimizes the negative log likelihood, by LBFGS in its logarithm. Fit it on examples that the
    model was not trained on. The chosen class stays as it is.

    Args:
        logits: ``(n, C)`` finite. Where there are probabilities only, such as `MCPrediction.mean`,
            their logarithms.
        labels: ``(n,)`` whole numbers in [0, C).

    Returns:
        Within [1e-3, 1e3]. Where all answers are right, lower is always better: it ends where hardly
        anything is left to gain.

    Raises:
        DataError: A logit is not finite, or a label no class.
        ShapeError: There are no examples, or not one label for each.

    Source:
        Guo et al. 2017, ICML, arXiv:1706.04599, section 4.2.

    >>> logits = torch.tensor([[8.0, 0.0], [8.0, 0.0], [8.0, 0.0], [8.0, 0.0]])
    >>> round(8 / fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 4)  # the log of 3
    1.0986
    """
    _check_shape(logits, "logits")
    if not bool(logits.isfinite().all()):
        raise DataError("`logits` must be finite; got nan or an infinity.")
    labels, wide = checked_labels(labels, logits), logits.detach().double()
    log_t = torch.zeros((), dtype=torch.float64, device=logits.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_t], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )
    low, high = 1e-3, 1e3

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(wide / log_t.exp().clamp(low, high), labels)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return min(max(float(log_t.detach().exp()), low), high)


def _checked(probabilities: Tensor, labels: Tensor) -> Tensor:
    _check_shape(probabilities, "probabilities")
    sums, least = probabilities.double().sum(-1), probabilities.min()
    if not bool(((sums - 1).abs() < _SLACK).all()) or not bool(least >= 0):  # nan fails this too
        raise DataError(
            "`probabilities` must be at least 0 and sum to 1 in each row; one does not."
        )
    return checked_labels(labels.to(probabilities.device), probabilities)


def _check_shape(values: Tensor, name: str) -> None:
    if values.dim() != 2 or 0 in values.shape:
        raise ShapeError(f"`{name}` must have shape (n, C), n above 0; got {tuple(values.shape)}.")
