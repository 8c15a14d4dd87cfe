"""Membership inference: can one tell from a score whether a text was trained on?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dropkit.core.estimate import Estimate
from dropkit.finetuning.memorizing._intervals import auc_interval, share
from dropkit.uncertainty import auroc

#: False positive rates at which the share of recognized members is told.
LOW_RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Attack:
    """How well one score tells members, examples of the training data, from others.

    Attributes:
        auc: Chance that a member scores higher than another example; 0.5 is guessing.
        true_positive_rates: By false positive rate, of 0.001, 0.01 and 0.1 those that there are
            enough held-out examples for, ``1 / rate`` of them: the share of members above a
            threshold that at most this share of the held-out examples passes. Its interval takes
            the threshold as given.
    """

    auc: Estimate
    true_positive_rates: Mapping[float, Estimate]


def attack(members: Sequence[float], others: Sequence[float], confidence: float) -> Attack:
    """Judge a score by its values for members and for others; higher says member.

    Source:
        Carlini et al. 2022, IEEE S&P, arXiv:2112.03570, for the rates at low false positive rates.
    """
    scores = torch.tensor([*members, *others], dtype=torch.float64)
    is_member = torch.arange(len(scores)) < len(members)
    area = auroc(scores, is_member)
    rates = {}
    for rate in LOW_RATES:
        n_allowed = int(rate * len(others) + 1e-9)
        if n_allowed:
            threshold = sorted(others, reverse=True)[n_allowed]  # to be above
            n_hits = sum(score > threshold for score in members)
            rates[rate] = share(n_hits, len(members), confidence)
    return Attack(auc_interval(area, len(members), len(others), confidence), rates)
