"""Models whose leverage follows from algebra, and runs of them without a trace around."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dropkit.tracing._answers import Reader
from dropkit.tracing._runs import Runs
from dropkit.tracing._walks import Moments, walk


class Branches(nn.Module):
    """A sum over sites: each drops a vector of ones at half and weighs what it keeps."""

    def __init__(self, weights: Sequence[float], n: int = 400) -> None:
        super().__init__()
        self.weights = list(weights)
        self.drops = nn.ModuleList(nn.Dropout(0.5) for _ in weights)
        self.scale = nn.Parameter(torch.ones(n))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, n)`` to ``(B,)``."""
        parts = zip(self.weights, self.drops, strict=True)
        return sum(w * drop(x * self.scale).sum(1) for w, drop in parts)  # type: ignore[return-value]


@pytest.fixture(scope="session")
def make_branches() -> Callable[..., Branches]:
    """`Branches` of these weights."""
    return Branches


@pytest.fixture(scope="session")
def walked() -> Callable[..., Moments]:
    """The moments of the sum of what a model gives, over so many blocks."""

    def moments(model: nn.Module, batch: Tensor, n_blocks: int, seed: int) -> Moments:
        reader = Reader(lambda y: y.sum())
        with Runs(model, batch, seed) as runs, runs.on_core(), torch.no_grad():
            names = [site.name for site in runs.sites]

            def evaluate(block: int, sides: np.ndarray) -> np.ndarray:
                samples = {name: int(side) for name, side in zip(names, sides, strict=True)}
                with runs.at(block, samples):
                    return reader.read(runs.run()).loss

            return walk(evaluate, len(names), n_blocks, seed)

    return moments
