"""The layers of papers, and an input for each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.nn import (
    ConcreteDropout,
    DropBlock2d,
    DropBlock3d,
    DropPath,
    EmbeddingDropout,
    LayerDrop,
    PatchDropout,
    StochasticDepth,
    WeightDrop,
    WordDropout,
)


@dataclass(frozen=True)
class Case:
    """A layer, what it is called on, and what is known of it.

    Attributes:
        make: Makes the layer at a rate, the same each time.
        x: Its input; the first of its dimensions are examples.
        seen: What of its output shows what was dropped.
        rate: What its arguments call the rate.
        follows_rows: Whether an example's mask is its own under ``rows``.
        breaks_graph: Whether ``torch.compile`` cannot have it in one graph.
        rates: At which it is called one after another.
        graphs: How many are compiled for those rates; None where it depends.
    """

    make: Callable[[Any], nn.Module]
    x: Tensor
    seen: Callable[[Tensor], Tensor] = lambda y: y == 0
    rate: str = "p"
    follows_rows: bool = True
    breaks_graph: bool = False
    rates: tuple[float, ...] = (0.5, 0.1, 0.0, 1.0, 0.3)
    graphs: int | None = 2


def _filled(module: nn.Module, start: float = -1.0) -> nn.Module:
    """The module with parameters that are the same each time."""
    for i, parameter in enumerate(module.parameters()):
        values = torch.linspace(start, 1, parameter.numel()) + 0.1 * i
        parameter.data.copy_(values.reshape(parameter.shape))
    return module


def _numbers(*shape: int) -> Tensor:
    return torch.linspace(0.5, 2, torch.Size(shape).numel()).reshape(shape)


BELOW_1 = (0.5, 0.1, 0.0, 0.9, 0.3)
UNKNOWN = 99
WORDS = torch.arange(60).reshape(4, 15) % 23
CASES = {
    "ConcreteDropout": Case(
        lambda p: ConcreteDropout(_filled(nn.Linear(6, 5)), p),
        _numbers(4, 6),
        seen=lambda y: y,
        rates=BELOW_1,
        graphs=1,  # its rate is data
    ),
    "ConcreteDropout channels": Case(
        lambda p: ConcreteDropout(_filled(nn.Conv1d(3, 2, 2)), p),
        _numbers(4, 3, 6),
        seen=lambda y: y,
        rates=BELOW_1,
        graphs=1,
    ),
    "DropBlock2d": Case(lambda p: DropBlock2d(p, 3), _numbers(4, 3, 9, 8)),
    "DropBlock3d": Case(lambda p: DropBlock3d(p, 2), _numbers(4, 2, 5, 4, 6)),
    "DropPath": Case(DropPath, _numbers(16, 3, 2), rate="drop_prob"),
    "EmbeddingDropout": Case(
        lambda p: EmbeddingDropout(_filled(nn.Embedding(23, 5)), p), WORDS, follows_rows=False
    ),
    "LayerDrop": Case(
        lambda p: LayerDrop([_filled(nn.Linear(6, 6), 0.1 * i) for i in range(8)], p),
        _numbers(4, 6),
        follows_rows=False,
        breaks_graph=True,
        graphs=None,
    ),
    "PatchDropout": Case(
        lambda p: PatchDropout(p, ordered=True),
        _numbers(4, 9, 2),
        seen=lambda y: y,
        rate="prob",
        graphs=None,  # shapes depend on the rate
    ),
    "StochasticDepth row": Case(lambda p: StochasticDepth(p, "row"), _numbers(16, 3, 2)),
    "StochasticDepth batch": Case(
        lambda p: StochasticDepth(p, "batch"), _numbers(16, 3, 2), follows_rows=False
    ),
    "WeightDrop": Case(
        lambda p: WeightDrop(_filled(nn.Linear(6, 5)), "weight", p),
        _numbers(4, 6),
        follows_rows=False,
    ),
    "WordDropout": Case(
        lambda p: WordDropout(p, unk_id=UNKNOWN), WORDS, seen=lambda y: y == UNKNOWN
    ),
}
#: Their classes.
OF_PAPERS = {type(case.make(0.5)).__name__ for case in CASES.values()}
