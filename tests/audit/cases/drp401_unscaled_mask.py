"""A mask that leaves what it keeps as it is, in training only."""

import torch
from torch import Tensor, nn

from dropkit.nn import Dropout
from support_cases import Case
from support_entry import ids, numbers


class Masked(nn.Module):
    """A mask made by hand.

    Args:
        p: Drop rate.
        train_scale: Factor of what is kept in training.
        eval_scale: Of everything in eval.
        by_row: Whether whole examples are dropped.
    """

    def __init__(
        self,
        p: float = 0.4,
        train_scale: float = 1.0,
        eval_scale: float = 1.0,
        *,
        by_row: bool = False,
    ) -> None:
        super().__init__()
        self.keep, self.by_row = 1 - p, by_row
        self.train_scale, self.eval_scale = train_scale, eval_scale

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x if self.eval_scale == 1.0 else x * self.eval_scale
        like = x[:, :1] if self.by_row else x
        y = x * torch.bernoulli(torch.full_like(like, self.keep))
        return y if self.train_scale == 1.0 else y * self.train_scale


class ByComparison(nn.Module):
    """A mask of uniform numbers, by choice with its scale in front, in the mask, or behind."""

    def __init__(self, scale: str) -> None:
        super().__init__()
        self.p, self.scale = 0.25, scale

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x
        keep = 1 - self.p
        mask = (torch.rand_like(x) > self.p).to(x.dtype)
        if self.scale == "front":
            x = x / keep
        if self.scale == "mask":
            mask = mask / keep
        y = mask * x
        return y.div_(keep) if self.scale == "behind" else y


class ByFilling(nn.Module):
    """Zeros written where a mask says."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x.masked_fill(torch.rand_like(x) < 0.3, 0.0) if self.training else x


class Pretraining(nn.Module):
    """Positions replaced by a token that is learned, which is no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(64, 16), nn.Linear(16, 64)
        self.token = nn.Parameter(torch.zeros(16))

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, steps)`` to ``(batch, steps, 64)``."""
        x = self.embedding(tokens)
        if self.training:
            mask = (torch.rand(*tokens.shape, 1) < 0.85).to(x.dtype)
            x = x * mask + self.token * (1 - mask)
        return self.head(x)


class Augmented(nn.Module):
    """An input of which parts are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        if self.training:
            x = x * (torch.rand_like(x) < 0.8)
        return self.head(x)


class Renormalized(nn.Module):
    """Attention whose shares are dropped, and then divided by their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        shares = self.scores(x).softmax(-1)
        if self.training:
            shares = shares * (torch.rand_like(shares) < 0.8)
            shares = shares / shares.sum(-1, keepdim=True)
        return self.head(shares)


def net(*layers: nn.Module) -> nn.Sequential:
    """A perceptron with the given layers inside."""
    return nn.Sequential(nn.Linear(16, 64), nn.GELU(), *layers, nn.Linear(64, 4))


VECTORS = numbers(64, 16)
BAD = [
    Case("by bernoulli", lambda: net(Masked()), VECTORS),
    Case("by comparison", lambda: net(ByComparison("nowhere")), VECTORS),
    Case("by filling", lambda: net(ByFilling()), VECTORS),
    Case("whole examples", lambda: net(Masked(0.5, by_row=True)), VECTORS),
]
GOOD = [
    Case("scaled", lambda: net(Masked(0.4, 1 / 0.6)), VECTORS),
    Case("scaled in front", lambda: net(ByComparison("front")), VECTORS),
    Case("scaled in the mask", lambda: net(ByComparison("mask")), VECTORS),
    Case("scaled in place", lambda: net(ByComparison("behind")), VECTORS),
    Case("original form", lambda: net(Masked(0.4, 1.0, 0.6)), VECTORS),
    Case("our original form", lambda: net(Dropout(0.4, mode="vanilla")), VECTORS),
    Case("masked tokens", Pretraining, ids(16, 32)),
    Case("augmented inputs", Augmented, VECTORS),
    Case("divided by the sum", Renormalized, VECTORS),
    Case("before a norm", lambda: net(Masked(), nn.LayerNorm(64)), VECTORS),
]
