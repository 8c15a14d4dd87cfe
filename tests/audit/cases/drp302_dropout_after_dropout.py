"""What one dropout has kept is dropped by another."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import ids, numbers


def net(*layers: nn.Module) -> nn.Sequential:
    """A perceptron with the given layers inside."""
    return nn.Sequential(nn.Linear(16, 64), nn.GELU(), *layers, nn.Linear(64, 4))


class Branch(nn.Module):
    """A residual branch with dropout at its end, that single examples lose."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 64)`` to the same."""
        y = self.branch(x)
        if self.training:
            y = y * (torch.rand(len(x), 1) < 0.8) / 0.8
        return x + y


class Tagger(nn.Module):
    """A recurrent layer that drops between its layers, and dropout behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 16)
        self.lstm = nn.LSTM(16, 16, num_layers=2, dropout=0.3, batch_first=True)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, steps, 4)``."""
        return self.head(self.drop(self.lstm(self.embedding(tokens))[0]))


VECTORS = numbers(64, 16)
BAD = [
    Case("twice", lambda: net(nn.Dropout(0.5), nn.Dropout(0.3)), VECTORS),
    Case("a relu between", lambda: net(nn.Dropout(0.2), nn.ReLU(), nn.Dropout(0.2)), VECTORS),
]
GOOD = [
    Case("once", lambda: net(nn.Dropout(0.5)), VECTORS),
    Case(
        "a layer between", lambda: net(nn.Dropout(0.1), nn.Linear(64, 64), nn.Dropout(0.1)), VECTORS
    ),
    Case("another mask by row", lambda: net(Branch()), VECTORS),
    Case("between layers and behind", Tagger, ids(8, 12)),
    Case("the second is off", lambda: net(nn.Dropout(0.5), nn.Identity()), VECTORS),
]
