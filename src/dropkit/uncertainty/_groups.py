"""Which answers say the same."""

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.errors import DataError, ShapeError


def equal_groups(answers: Sequence[object]) -> list[int]:
    """The group of each answer, from 0 in order of appearance: equal ones are together."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(answer, len(numbers)) for answer in answers]


def similar_groups(vectors: Tensor, threshold: float) -> list[int]:
    """The group of each answer: it joins the first one whose first member is so similar.

    Args:
        vectors: ``(S, D)``, one an answer.
        threshold: Of the cosine between two vectors.

    Source:
        The order is that of Kuhn et al. 2023, ICLR, arXiv:2302.09664, who ask a model of
        entailment instead.
    """
    unit = torch.nn.functional.normalize(vectors.double(), dim=-1)
    firsts: list[int] = []
    groups: list[int] = []
    for i in range(len(unit)):
        cosines = [float(unit[first] @ unit[i]) for first in firsts]
        same = next((group for group, cosine in enumerate(cosines) if cosine >= threshold), None)
        if same is None:
            same = len(firsts)
            firsts.append(i)
        groups.append(same)
    return groups


def checked_vectors(vectors: object, n: int) -> Tensor:
    """What an embedding function gave, as ``(n, D)``.

    Raises:
        ShapeError: It is of another shape.
        DataError: It holds nan, an infinity, or a vector of length 0.
    """
    found = torch.as_tensor(vectors)
    if found.dim() != 2 or len(found) != n:
        raise ShapeError(
            f"`embed` must give one vector a text, ({n}, D); got shape {tuple(found.shape)}."
        )
    if not bool(found.isfinite().all()) or bool((found == 0).all(1).any()):
        raise DataError("`embed` must give finite vectors that are not zero; got others.")
    return found.detach().cpu()


def group_entropy(groups: Sequence[int]) -> tuple[float, float]:
    """The entropy in nats of the shares of groups, and its standard error by the delta method.

    Source:
        "Discrete semantic entropy", Farquhar et al. 2024, Nature 630.
    """
    n = len(groups)
    shares = [count / n for count in Counter(groups).values()]
    entropy = -sum(share * math.log(share) for share in shares)
    variance = sum(share * math.log(share) ** 2 for share in shares) - entropy**2
    return entropy, math.sqrt(max(0.0, variance) / n)
