"""Layers that are seeded alike."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Seeded(nn.Module):
    """Drops by a generator that each forward gives a seed."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor, seed: int) -> Tensor:
        """Any shape."""
        if not self.training:
            return x
        generator = torch.Generator().manual_seed(seed + self.offset)
        return x * (torch.rand(x.shape, generator=generator) < 0.7) / 0.7


class Net(nn.Module):
    """Two layers under one seed a step."""

    def __init__(self, *offsets: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in offsets])
        self.drops = nn.ModuleList(map(Seeded, offsets))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        seed = int(torch.randint(2**31, ())) if self.training else 0
        for layer, drop in zip(self.layers, self.drops, strict=True):
            x = drop(layer(x).tanh(), seed)
        return self.head(x)


class OneMask(nn.Module):
    """A mask that is drawn once and applied twice, as the gates of a cell share theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        one, other = self.one(x).tanh(), self.other(x).tanh()
        if self.training:
            mask = torch.bernoulli(torch.full_like(one, 0.7)) / 0.7
            one, other = one * mask, other * mask
        return self.head(one + other)


VECTORS = numbers(8, 16)
BAD = [
    Case("two layers", lambda: Net(0, 0), VECTORS),
    Case("three layers", lambda: Net(0, 5, 0), VECTORS),
]
GOOD = [
    Case("a seed a layer", lambda: Net(0, 1, 2), VECTORS),
    Case("one mask", OneMask, VECTORS),
]
