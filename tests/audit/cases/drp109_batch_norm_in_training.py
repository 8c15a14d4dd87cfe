"""Monte Carlo prediction that overwrites the statistics of batch norms."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


def net() -> nn.Sequential:
    """Dropout behind the last batch norm."""
    return nn.Sequential(
        nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4)
    )


class MonteCarlo(nn.Module):
    """Mean of some predictions with dropout on."""

    def __init__(self) -> None:
        super().__init__()
        self.model = net()

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        if self.training:
            return self.model(x)
        self.model.train()
        return torch.stack([self.model(x) for _ in range(3)]).mean(0)


def half_awake() -> nn.Sequential:
    """Dropout and batch norm were put in training mode by hand."""
    model = net().eval()
    model[1].train()
    model[3].train()
    return model


def only_dropout() -> nn.Sequential:
    """Dropout alone."""
    model = net().eval()
    model[3].train()
    return model


VECTORS = numbers(8, 16)
BAD = [
    Case(
        "wrapper",
        MonteCarlo,
        VECTORS,
        also=("DRP105",),
        fault="lightning-uq-box",
    ),
    Case("by hand", half_awake, VECTORS),
]
GOOD = [
    Case("only dropout", only_dropout, VECTORS),
    Case("learning", net, VECTORS),
]
