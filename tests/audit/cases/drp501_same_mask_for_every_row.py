"""One mask for the whole batch."""

import torch
from torch import Tensor, nn

import dropkit
from support_cases import Case
from support_entry import ids, numbers


class Masked(nn.Module):
    """Draws a mask in a shape of its own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.inner, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, [steps,] 16)`` to ``(batch, [steps,] 4)``."""
        x = self.inner(x)
        if self.training:
            sizes = [size or whole for size, whole in zip(self.shape, x.shape, strict=False)]
            x = x * torch.bernoulli(torch.full(sizes, 0.7)) / 0.7
        return self.head(x)


class Functional(nn.Module):
    """A noise shape without the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        x = self.inner(x)
        return self.head(dropkit.functional.dropout(x, 0.5, self.training, noise_shape=(1, None)))


class StepsFirst(nn.Module):
    """Sequences whose first dimension is time, all steps of which share a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(64, 16), nn.GRU(16, 16), nn.Linear(16, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(steps, batch)`` to ``(steps, batch, 64)``."""
        x = self.embed(tokens)
        if self.training:
            x = x * x.new_empty(1, *x.shape[1:]).bernoulli_(0.7) / 0.7
        return self.head(self.rnn(x)[0])


VECTORS = numbers(8, 16)
SEQUENCES = numbers(8, 5, 16)
BAD = [
    Case("no batch dimension", lambda: Masked((32,)), VECTORS),
    Case("batch of one", lambda: Masked((1, 32)), VECTORS),
    Case("steps and features", lambda: Masked((1, 0, 0)), SEQUENCES),
    Case("noise shape", Functional, VECTORS),
]
GOOD = [
    Case("a mask a row", lambda: Masked((0, 0)), VECTORS),
    Case("shared over steps", lambda: Masked((0, 1, 0)), SEQUENCES),
    Case("time first", StepsFirst, ids(9, 4)),
    Case(
        "weights are dropped",
        lambda: nn.Sequential(
            dropkit.nn.WeightDrop(nn.Linear(16, 8), ["weight"], 0.5), nn.Linear(8, 4)
        ),
        VECTORS,
    ),
    Case(
        "a layer is skipped",
        lambda: nn.Sequential(
            nn.Linear(16, 16), dropkit.nn.StochasticDepth(0.5, "batch"), nn.Linear(16, 4)
        ),
        VECTORS,
    ),
]
