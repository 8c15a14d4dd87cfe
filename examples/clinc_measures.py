"""What is asked of a router: does it know what it was not made for, and may it answer alone?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from clinc_models import Answers
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from dropkit.errors import EvidenceError
from dropkit.uncertainty import (
    Handoff,
    auroc,
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    risk_coverage,
)

RESAMPLES = 1000
RISK, DELTA = 0.05, 0.1
#: What logits are divided by where a doubt is softened: half as sure.
SOFTNESS = 2.0
MEASURES = (
    "1 - max softmax",
    "entropy",
    "softened entropy",
    "energy",
    "MC 1 - max",
    "MC entropy",
    "MC MI",
    "MC votes",
)
#: What a doubt's AUROC is compared with: what everybody has, and the best of one pass.
BASES = ("1 - max softmax", "softened entropy")


def doubts(answers: Answers) -> dict[str, Tensor]:
    """Scores of how unsure the router is, ``(n,)`` each; those of one pass first.

    The mean over sub-networks is softer than any of them. What that alone does, the softened entropy
    shows.

    Sources: max softmax Hendrycks and Gimpel 2017, arXiv:1610.02136; energy Liu et al. 2020,
    arXiv:2010.03759; the others Gal 2016, "Uncertainty in deep learning", section 3.3.
    """
    p = answers.logits.softmax(-1)
    own = (
        1 - p.amax(-1),
        _entropy(p),
        _entropy((answers.logits / SOFTNESS).softmax(-1)),
        -answers.logits.logsumexp(-1),
        1 - answers.mean.amax(-1),
        answers.entropy,
        answers.mutual_information,
        answers.variation_ratio,
    )
    return dict(zip(MEASURES, own, strict=True))


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum(-1)


def average_precision(scores: Tensor, is_positive: Tensor) -> float:
    """Area under precision over recall, of positives with high scores."""
    # torchmetrics puts scores outside [0, 1] through a sigmoid, where great ones become equal
    ranks = scores.unique(return_inverse=True)[1].double()
    return float(binary_average_precision(ranks / len(scores), is_positive.long()))


@dataclass(frozen=True)
class Interval:
    """A number, and the 95% interval that a bootstrap over queries gives it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"

    def signed(self) -> str:
        """As a difference."""
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def detection(inside: Answers, outside: Answers) -> dict[str, dict[str, Interval]]:
    """How well each doubt tells what has no intent from what has one.

    Both kinds are drawn again apart.

    Returns:
        By doubt: ``"auroc"``, ``"aupr"`` (positive: no intent), and by how much the AUROC is above
        that of each of `BASES` on the same queries.
    """
    both = Answers.cat([inside, outside])
    is_outside = torch.arange(len(both.logits)) >= len(inside.logits)
    scores = doubts(both)
    draw = torch.Generator().manual_seed(0)
    drawn: dict[str, list[tuple[float, float]]] = {name: [] for name in scores}
    for k in range(RESAMPLES + 1):
        which = torch.arange(len(is_outside))
        if k:
            n, m = len(inside.logits), len(outside.logits)
            which = torch.cat(
                [
                    torch.randint(n, (n,), generator=draw),
                    torch.randint(m, (m,), generator=draw) + n,
                ]
            )
        for name, score in scores.items():
            some, truth = score[which], is_outside[which]
            drawn[name].append((auroc(some, truth), average_precision(some, truth)))
    of = {name: torch.tensor(values, dtype=torch.float64) for name, values in drawn.items()}
    return {
        name: {
            "auroc": _interval(values[:, 0]),
            "aupr": _interval(values[:, 1]),
            **{base: _interval(values[:, 0] - of[base][:, 0]) for base in BASES},
        }
        for name, values in of.items()
    }


def _interval(drawn: Tensor) -> Interval:
    """The first is of the data as they are, the others of what was drawn from them."""
    low, high = torch.quantile(drawn[1:], torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    return Interval(float(drawn[0]), low, high)


def calibration(
    fit: Answers, fit_labels: Tensor, test: Answers, labels: Tensor
) -> dict[str, dict[str, float]]:
    """Of queries that have an intent, as they are and with a temperature from the validation part."""
    found: dict[str, dict[str, float]] = {}
    logs: dict[str, Callable[[Answers], Tensor]] = {
        "deterministic": lambda answers: answers.logits,
        "Monte Carlo": lambda answers: answers.mean.log(),
    }
    for name, logits_of in logs.items():
        temperature = fit_temperature(logits_of(fit), fit_labels)
        for label, t in ((name, 1.0), (f"{name}, scaled", temperature)):
            p = (logits_of(test) / t).softmax(-1)
            found[label] = {
                "temperature": t,
                "accuracy": float((p.argmax(-1) == labels).double().mean()),
                "ECE": reliability(p, labels).error,
                "adaptive ECE": reliability(p, labels, adaptive=True).error,
                "Brier": brier_score(p, labels),
                "NLL": negative_log_likelihood(p, labels),
            }
    return found


def hand_over(
    fit: tuple[Answers, Tensor], test: tuple[Answers, Tensor]
) -> dict[str, dict[str, float]]:
    """Promise few errors among the answered, on `fit`; look whether it is kept, on `test`.

    A query without an intent is an error wherever it is answered.

    Returns:
        By doubt: the threshold's share handed over and error among the answered on `test`, and the
        area under the risk-coverage curve there. A doubt for which nothing can be promised has the
        area alone.
    """
    found = {}
    for name, score in doubts(fit[0]).items():
        sure = -doubts(test[0])[name]
        is_right = _is_right(name, *test)
        found[name] = {"AURC": risk_coverage(sure, is_right).aurc}
        try:
            handoff = Handoff.fit(-score, _is_right(name, *fit), risk=RISK, delta=DELTA)
        except EvidenceError:
            continue
        is_answered = handoff.answers(sure)
        found[name] |= {
            "handed over": 1 - float(is_answered.double().mean()),
            "error": 1 - float(is_right[is_answered].double().mean()),
        }
    return found


def _is_right(name: str, answers: Answers, labels: Tensor) -> Tensor:
    """By the answer that goes with the doubt: with dropout on or off."""
    answer = answers.mean if name.startswith("MC") else answers.logits
    return answer.argmax(-1) == labels
