"""What the zoo of models says about each model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: One positional tensor, several, or keywords.
Batch = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


@dataclass(frozen=True)
class Entry:
    """A model, a batch for it, a loss, and how many places of dropout it has.

    Attributes:
        name: As a test shows it.
        make: Builds the module, in training mode.
        batch: What its forward takes.
        loss: From what its forward returns to a scalar with a gradient.
        places: How many places draw in training, counted by reading the architecture; what a
            place is, `support_models` says.
        by_hand: How many of these draw with ``torch.rand``, ``torch.bernoulli`` and the like,
            beside every dropout function and module of torch.
        needs: Packages that `make` imports.
    """

    name: str
    make: Callable[[], nn.Module]
    batch: Batch
    loss: Callable[[Any], Tensor]
    places: int
    by_hand: int = 0
    needs: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """A fresh model, the same at each call; the caller's generator stays where it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make()

    def run(self, model: nn.Module) -> Any:
        """What `model` makes of the batch."""
        if isinstance(self.batch, dict):
            return model(**self.batch)
        return model(*self.batch) if isinstance(self.batch, tuple) else model(self.batch)


def numbers(*shape: int) -> Tensor:
    """Numbers in [-1, 1] that follow no pattern which a layer could see, and no generator."""
    count = torch.Size(shape).numel()
    return (torch.arange(count).square() * 0.7).sin().reshape(shape)


def ids(*shape: int, vocabulary: int = 64) -> Tensor:
    """Tokens from 3 up: the first three are padding, start and end in most models."""
    count = torch.Size(shape).numel()
    return (torch.arange(count) * 37 % (vocabulary - 3) + 3).reshape(shape)


def tensors(output: Any) -> list[Tensor]:
    """All tensors that a model gives."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if hasattr(output, "values") else output
    return [x for part in parts for x in tensors(part)] if hasattr(parts, "__iter__") else []


def first_output(output: Any) -> Tensor:
    """The tensor that is predicted with, of any model of the zoo."""
    if isinstance(output, Tensor):
        return output
    return output.logits if hasattr(output, "logits") else next(iter(output.values()))
