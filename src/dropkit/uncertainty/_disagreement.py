"""How far sub-networks of a language model part over one prompt."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dropkit.uncertainty._groups import group_entropy


@dataclass(frozen=True)
class Estimated:
    """A number, and how far it would be off with these sub-networks.

    Attributes:
        value: The number.
        standard_error: Over the draw of sub-networks.
    """

    value: float
    standard_error: float

    def to_dict(self) -> dict[str, float]:
        """Both by name."""
        return {"value": self.value, "standard_error": self.standard_error}


@dataclass(frozen=True)
class Disagreement:
    """What sub-networks answer to one prompt; entropies are in nats.

    Attributes:
        answers: The tokens with which each goes on, an end token included.
        groups: Of each answer, which ones say the same: numbers from 0 in order of appearance.
        variation_ratio: The share of answers outside of the largest group.
        entropy: Length-normalized predictive entropy, nats a token: the mean over answers of
            ``-log P(answer) / length``, where the probability of a token is its mean over all
            sub-networks. An estimate of the entropy of answers where they are drawn at temperature
            1; of likeliest answers it says how surprising they are.
        mutual_information: Between the next token and the sub-network, nats a token, the mean over
            the positions of the answers: how much of that is disagreement. By chance it is too
            high by something of the order of ``1 / samples_used``.
        semantic_entropy: Of the group that an answer falls in; None where texts were not embedded.
        samples_used: How many sub-networks.
    """

    answers: tuple[tuple[int, ...], ...]
    groups: tuple[int, ...]
    variation_ratio: Estimated
    entropy: Estimated
    mutual_information: Estimated
    semantic_entropy: Estimated | None
    samples_used: int

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and lists."""
        semantic = self.semantic_entropy
        return {
            "answers": [list(answer) for answer in self.answers],
            "groups": list(self.groups),
            "variation_ratio": self.variation_ratio.to_dict(),
            "entropy": self.entropy.to_dict(),
            "mutual_information": self.mutual_information.to_dict(),
            "semantic_entropy": None if semantic is None else semantic.to_dict(),
            "samples_used": self.samples_used,
        }


@dataclass(frozen=True)
class Scored:
    """An answer under all `S` sub-networks.

    Attributes:
        surprise: ``-log P`` a token of it, where P is the mean over sub-networks.
        crossed: ``(S,)``: each one's entropy against that mean, nats a token.
        own: ``(S,)``: its own entropy.
    """

    surprise: float
    crossed: Tensor
    own: Tensor


def scored(log_probabilities: Iterable[Tensor], answer: Tensor) -> Scored:
    """How an answer looks to sub-networks.

    Args:
        log_probabilities: ``(n, L, V)`` float32 a group of sub-networks.
        answer: ``(L,)`` tokens.
    """
    logs = torch.cat(list(log_probabilities))
    crossed = logs.new_zeros(len(logs), dtype=torch.float64)
    own, surprise = torch.zeros_like(crossed), 0.0
    for at, token in enumerate(answer.tolist()):  # a vocabulary is wide
        each = logs[:, at].double()
        mean = each.logsumexp(0) - math.log(len(each))
        surprise -= float(mean[token])
        shares = each.exp()
        crossed -= (shares * mean).sum(-1)
        own -= (shares * each).sum(-1)
    return Scored(surprise / len(answer), crossed / len(answer), own / len(answer))


def summarized(
    answers: Sequence[tuple[int, ...]],
    scores: Sequence[Scored],
    groups: Sequence[int],
    *,
    is_semantic: bool,
) -> Disagreement:
    """All measures.

    Args:
        answers: One a sub-network.
        scores: Likewise, of its answer.
        groups: Likewise.
        is_semantic: Whether groups are of what answers mean.
    """
    n = len(answers)
    surprises = torch.tensor([score.surprise for score in scores], dtype=torch.float64)
    apart = torch.stack([score.crossed - score.own for score in scores])
    others = 1.0 - max(Counter(groups).values()) / n
    return Disagreement(
        answers=tuple(answers),
        groups=tuple(groups),
        variation_ratio=Estimated(others, math.sqrt(others * (1.0 - others) / n)),
        entropy=_mean(surprises),
        mutual_information=_mean(apart.mean(0), least=0.0),
        semantic_entropy=Estimated(*group_entropy(groups)) if is_semantic else None,
        samples_used=n,
    )


def _mean(values: Tensor, least: float = -math.inf) -> Estimated:
    error = float(values.std()) / math.sqrt(len(values))
    return Estimated(max(least, float(values.mean())), error)
