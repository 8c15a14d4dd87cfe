"""Infinite numbers that dropout turns into nan."""

import math

import torch
from torch import Tensor, nn

from dropkit.nn import Dropout
from support_cases import Case
from support_entry import numbers


class Causal(nn.Module):
    """Attention whose scores are masked with minus infinity, in front of dropout or behind it."""

    def __init__(self, drop: nn.Module, *, masks_first: bool) -> None:
        super().__init__()
        self.qkv, self.drop, self.masks_first = nn.Linear(16, 48), drop, masks_first

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 4
        future = torch.ones_like(scores[0]).triu(1).bool()
        if self.masks_first:
            scores = self.drop(scores.masked_fill(future, -math.inf))
        shares = scores.masked_fill(future, -math.inf).softmax(-1)
        return (shares if self.masks_first else self.drop(shares)) @ v


SEQUENCES = numbers(4, 12, 16)
BAD = [
    Case(
        "masked scores",
        lambda: Causal(nn.Dropout(0.2), masks_first=True),
        SEQUENCES,
        fault="pytorch#59421",
    ),
]
GOOD = [
    Case("shares", lambda: Causal(nn.Dropout(0.2), masks_first=False), SEQUENCES),
    Case(
        "an infinite input to ours",
        lambda: nn.Sequential(nn.Linear(16, 16), Infinite(), Dropout(0.2), Finite()),
        SEQUENCES,
    ),
]


class Infinite(nn.Module):
    """One number becomes infinite."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x.masked_fill(x == x.max(), math.inf)


class Finite(nn.Module):
    """Infinite numbers become large ones."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x.clamp(-1e4, 1e4)
