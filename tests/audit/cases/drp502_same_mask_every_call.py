"""A generator that begins anew in every forward."""

import torch
from torch import Tensor, nn

import dropkit
from support_cases import Case
from support_entry import numbers


class Reseeded(nn.Module):
    """Seeds before it drops, or draws from a generator of its own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        if how in ("seed", "none"):
            self.drop = nn.Dropout(0.3)
        self.inner, self.head = nn.Linear(16, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        x = self.inner(x)
        if not self.training:
            return self.head(x)
        if self.how == "generator":
            generator = torch.Generator().manual_seed(7)
            x = x * (torch.rand(x.shape, generator=generator) < 0.7) / 0.7
        elif self.how == "names":
            with dropkit.masks_at(seed=7, step=0):
                x = dropkit.functional.dropout(x, 0.3)
        else:
            if self.how == "seed":
                torch.manual_seed(7)
            x = self.drop(x)
        return self.head(x)


class OwnGenerator(nn.Module):
    """A generator that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(7)
        self.inner, self.head = nn.Linear(16, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        x = self.inner(x)
        if self.training:
            x = x * (torch.rand(x.shape, generator=self.generator) < 0.7) / 0.7
        return self.head(x)


VECTORS = numbers(8, 16)
BAD = [
    Case("manual_seed", lambda: Reseeded("seed"), VECTORS),
    Case("fresh generator", lambda: Reseeded("generator"), VECTORS),
    Case("a step that stands still", lambda: Reseeded("names"), VECTORS),
]
GOOD = [
    Case("one generator for all", lambda: Reseeded("none"), VECTORS),
    Case("a generator that goes on", OwnGenerator, VECTORS),
]
