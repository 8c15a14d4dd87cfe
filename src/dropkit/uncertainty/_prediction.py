"""What many sub-networks say of a batch, with how far each number can be trusted."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dropkit.errors import DataError, OptionError, ShapeError

Kind = Literal["classification", "regression"]


class Uncertain(NamedTuple):
    """A number an example, and how far it would be off with these sub-networks.

    Attributes:
        value: ``(B, *)`` float64.
        standard_error: Likewise: over the draw of sub-networks, not over that of data.
    """

    value: Tensor
    standard_error: Tensor


@dataclass(frozen=True, eq=False)
class MCPrediction:
    """The answers of many sub-networks to one batch; entropies are in nats.

    For classes an answer is the softmax over the last dimension ``C``, and `entropy`,
    `mutual_information` and `variation_ratio` have the shape of an answer without it; for regression
    they are None.

    Attributes:
        kind: ``"classification"`` or ``"regression"``.
        answers: ``(S, B, *)`` float64, one a sub-network; nan where an example had been sampled
            often enough.
        samples_used: ``(B,)`` int64.
        mean: ``(B, *)`` float64: for classes the predictive distribution.
        variance: ``(B, *)``: of the answers, divided by ``samples_used - 1``; the noise of a
            regression is not in it.
        entropy: Of the mean: how unsure the answer is, whatever the reason.
        mutual_information: Between answer and sub-network, the entropy of the mean minus the mean
            entropy: how much the sub-networks disagree. By chance it is too high, and the entropy
            too low, by something of the order of ``1 / samples_used``.
        variation_ratio: The share of sub-networks that would not choose the class that most choose.
        standard_error: Of each of the above by its name: ``"mean"``, ``"variance"``, ``"entropy"``,
            ``"mutual_information"``, ``"variation_ratio"``.

    Source:
        Gal 2016, "Uncertainty in deep learning", section 3.3, for the measures; their standard
        errors are by the delta method.
    """

    kind: Kind
    answers: Tensor
    samples_used: Tensor
    mean: Tensor
    variance: Tensor
    entropy: Tensor | None
    mutual_information: Tensor | None
    variation_ratio: Tensor | None
    standard_error: Mapping[str, Tensor]
    _sub_network: Callable[[int, Any], nn.Module] = field(repr=False)

    def quantile(self, q: float) -> Tensor:
        """The `q` quantile of the answers, ``(B, *)`` float64, `q` in [0, 1].

        Raises:
            OptionError: `q` is outside its range.
        """
        if not 0.0 <= q <= 1.0:
            raise OptionError(f"`q` must be in [0, 1]; got {q!r}.")
        return self.answers.nanquantile(q, dim=0)

    def log_likelihood(self, targets: Tensor, noise_variance: float | None = None) -> Uncertain:
        """How likely the sub-networks together held the truth: the log of a mean, in nats.

        For classes the mean is over the probabilities of the true class. For regression it is over
        normal densities around the answers::

            logsumexp(-(y - y_s)^2 / (2 v)) - log S - log(2 pi v) / 2

        summed in the exponent over the dimensions of an answer.

        Args:
            targets: ``(B,)`` int64 classes (``(B, *)`` where answers have more dimensions), or for
                regression ``(B, *)`` numbers like `mean`.
            noise_variance: ``1 / tau`` of the regression, above 0, in squared units of the targets.

        Returns:
            ``(B,)`` each; for classes like `entropy`.

        Raises:
            ShapeError: `targets` is of another shape.
            DataError: A class does not exist, or a number is not finite.
            OptionError: `noise_variance` is missing, not above 0, or given for classes.

        Source:
            Gal and Ghahramani 2016, ICML, arXiv:1506.02142, appendix, eq. 8 for regression.
        """
        if self.kind == "classification":
            if noise_variance is not None:
                raise OptionError("`noise_variance` is for regression; got it for classes.")
            labels = checked_labels(targets, self.mean)
            chosen = labels.to(self.answers.device).expand(len(self.answers), *labels.shape)
            logs = self.answers.log().gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        else:
            logs = self._log_densities(targets, noise_variance)
        n = self._n_of(logs)
        is_used = ~logs.isnan()
        total = logs.masked_fill(~is_used, -torch.inf).logsumexp(0)
        shares = (logs - total).exp() * n  # over their mean, which is 1
        value = total - n.log()
        return Uncertain(value, (_variance(shares, n) / n).sqrt())

    def _log_densities(self, targets: Tensor, noise_variance: float | None) -> Tensor:
        if noise_variance is None or not 0.0 < noise_variance < math.inf:
            raise OptionError(f"`noise_variance` must be above 0; got {noise_variance!r}.")
        if targets.shape != self.mean.shape:
            raise ShapeError(
                f"`targets` must have the shape of the mean, {tuple(self.mean.shape)}; "
                f"got {tuple(targets.shape)}."
            )
        if not bool(targets.isfinite().all()):
            raise DataError("`targets` must be finite; got nan or an infinity.")
        off = (self.answers - targets.to(self.answers)).square()
        off = off.reshape(*off.shape[:2], -1)
        d = off.shape[-1]
        return -off.sum(-1) / (2 * noise_variance) - d / 2 * math.log(2 * math.pi * noise_variance)

    def replay(self, k: int, ids: Any = None) -> nn.Module:
        """Sub-network `k` as a plain module, which gives what it gave here.

        It shares the model's parameters, and drops what sample `k` dropped, in training mode and
        in eval mode alike.

        Args:
            k: Which sample, from 0; also one that was not drawn here.
            ids: Of the examples that it will be called on; None takes those of this batch.

        Raises:
            AddressError: `k` is no whole number in [0, 2**64).
        """
        return self._sub_network(k, ids)

    def _n_of(self, values: Tensor) -> Tensor:
        """`samples_used`, to be divided by: float64 of as many dimensions as one of `values`."""
        n = self.samples_used.to(values)
        return n.reshape(-1, *(1 for _ in values.shape[2:]))

    def to_dict(self) -> dict[str, Any]:
        """Numbers as lists, without the single answers."""
        measures = {
            name: value.tolist()
            for name in ("mean", "variance", "entropy", "mutual_information", "variation_ratio")
            if (value := getattr(self, name)) is not None
        }
        errors = {name: value.tolist() for name, value in self.standard_error.items()}
        used = self.samples_used.tolist()
        return {"kind": self.kind, "samples_used": used, **measures, "standard_error": errors}


def checked_labels(labels: Tensor, probabilities: Tensor) -> Tensor:
    """`labels` as int64, one for each distribution in ``(*, C)``.

    Raises:
        ShapeError: There are more or fewer.
        DataError: A class does not exist.
    """
    shape, n_classes = probabilities.shape[:-1], probabilities.shape[-1]
    if labels.shape != shape:
        raise ShapeError(
            f"labels must have shape {tuple(shape)}, one for each answer; got "
            f"{tuple(labels.shape)}."
        )
    is_whole = not (labels.is_floating_point() or labels.is_complex())
    if not is_whole or (labels.numel() and not 0 <= labels.min() <= labels.max() < n_classes):
        raise DataError(f"labels must be whole numbers in [0, {n_classes}); got others.")
    return labels.long()


def summarized(
    answers: Tensor, kind: Kind, sub_network: Callable[[int, Any], nn.Module]
) -> MCPrediction:
    """All measures of ``(S, B, *)`` answers, nan where an example was not run."""
    is_used = ~answers.flatten(2).isnan().any(-1) if answers.dim() > 2 else ~answers.isnan()
    used = is_used.sum(0)
    n = used.to(answers).reshape(-1, *(1 for _ in answers.shape[2:]))
    mean, variance = answers.nanmean(0), _variance(answers, n)
    fourth = (answers - mean).pow(4).nansum(0) / n
    of_variance = (fourth - variance.square() * (n - 3) / (n - 1)).clamp(min=0) / n
    errors = {"mean": (variance / n).sqrt(), "variance": of_variance.sqrt()}
    measures: dict[str, Tensor | None] = dict.fromkeys(
        ("entropy", "mutual_information", "variation_ratio")
    )
    if kind == "classification":
        of_classes = _of_classes(answers, mean, n.squeeze(-1))
        measures = {name: found.value for name, found in of_classes.items()}
        errors |= {name: found.standard_error for name, found in of_classes.items()}
    return MCPrediction(
        kind=kind,
        answers=answers,
        samples_used=used,
        mean=mean,
        variance=variance,
        standard_error=errors,
        _sub_network=sub_network,
        **measures,
    )


def _of_classes(answers: Tensor, mean: Tensor, n: Tensor) -> dict[str, Uncertain]:
    surprise = torch.where(mean > 0, -mean.log(), 0.0)  # what no sub-network holds possible
    crossed = (answers * surprise).sum(-1)  # averages to the entropy of the mean
    own = -torch.special.xlogy(answers, answers).sum(-1)
    entropy, expected = crossed.nanmean(0), own.nanmean(0)
    is_used = ~own.isnan()
    choices = answers.nan_to_num(-1.0).argmax(-1)
    votes = nn.functional.one_hot(choices, answers.shape[-1]) * is_used.unsqueeze(-1)
    others = 1.0 - votes.sum(0).amax(-1) / n
    return {
        "entropy": Uncertain(entropy, (_variance(crossed, n) / n).sqrt()),
        "mutual_information": Uncertain(
            (entropy - expected).clamp(min=0), (_variance(crossed - own, n) / n).sqrt()
        ),
        "variation_ratio": Uncertain(others, (others * (1.0 - others) / n).sqrt()),
    }


def _variance(values: Tensor, n: Tensor) -> Tensor:
    """Of the first dimension, nan left out; ``n`` are used, at least 2."""
    return (values - values.nanmean(0)).square().nansum(0) / (n - 1)
