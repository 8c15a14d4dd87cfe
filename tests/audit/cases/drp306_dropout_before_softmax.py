"""Scores are dropped before a softmax turns them into shares."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Attention(nn.Module):
    """Attention of one head that drops at a place of choice."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.qkv, self.out, self.place, self.p = nn.Linear(16, 48), nn.Linear(16, 16), place, 0.1

    def _dropped(self, x: Tensor, place: str) -> Tensor:
        return F.dropout(x, self.p, self.training) if place == self.place else x

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = self._dropped(q @ k.mT / math.sqrt(16), "scores")
        if self.place == "keys" and self.training:
            scores = scores.masked_fill(torch.rand_like(scores) < self.p, -math.inf)
        scores = scores.masked_fill(torch.ones_like(scores[0]).triu(1).bool(), -1e9)
        shares = self._dropped(scores.softmax(-1), "shares")
        return self.out(shares @ v)


SEQUENCES = numbers(4, 24, 16)
BAD = [
    Case("attention scores", lambda: Attention("scores"), SEQUENCES),
    Case(
        "classes",
        lambda: nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.2), nn.LogSoftmax(-1)),
        SEQUENCES,
    ),
]
GOOD = [
    Case("attention shares", lambda: Attention("shares"), SEQUENCES),
    Case("keys that are left out", lambda: Attention("keys"), SEQUENCES),
    Case(
        "before the layer",
        lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 8), nn.LogSoftmax(-1)),
        SEQUENCES,
    ),
]
