"""Checkpointing that computes a layer again under another mask."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dropkit
from support_cases import Case
from support_entry import numbers


class Checkpointed(nn.Module):
    """A layer that is computed again in the backward."""

    def __init__(self, kind: type[nn.Module] = nn.Dropout, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.inner = nn.Sequential(nn.Linear(16, 64), nn.GELU(), kind(0.5), nn.Linear(64, 16))
        self.first, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(checkpoint(self.inner, self.first(x), **self.options))


class Own(torch.autograd.Function):
    """A checkpoint that knows nothing of generators."""

    @staticmethod
    def forward(ctx: Any, run: nn.Module, x: Tensor) -> Tensor:
        """Run without a graph."""
        ctx.run = run
        ctx.save_for_backward(x)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        """Run again, and differentiate."""
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.run(x)
        y.backward(grad)
        return None, x.grad


class OwnCheckpoint(Checkpointed):
    """Uses it."""

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(Own.apply(self.inner, self.first(x)))


class Named(Checkpointed):
    """Masks that have names."""

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        seed = int(torch.randint(2**31, ()))
        with dropkit.masks_at(seed=seed):
            return super().forward(x)


VECTORS = numbers(8, 16)
BAD = [
    Case(
        "reentrant",
        lambda: Checkpointed(use_reentrant=True, preserve_rng_state=False),
        VECTORS,
        fault="OLMo-core#828",
    ),
    Case(
        "not reentrant",
        lambda: Checkpointed(use_reentrant=False, preserve_rng_state=False),
        VECTORS,
        fault="pytorch#190717",
    ),
    Case("of one's own", OwnCheckpoint, VECTORS, fault="guided-diffusion#167"),
]
GOOD = [
    Case("preserved, reentrant", lambda: Checkpointed(use_reentrant=True), VECTORS),
    Case("preserved, not reentrant", lambda: Checkpointed(use_reentrant=False), VECTORS),
    Case(
        "nothing is dropped",
        lambda: Checkpointed(lambda _: nn.Identity(), use_reentrant=True, preserve_rng_state=False),
        VECTORS,
    ),
    Case(
        "named masks",
        lambda: Named(dropkit.nn.Dropout, use_reentrant=False, preserve_rng_state=False),
        VECTORS,
    ),
]
