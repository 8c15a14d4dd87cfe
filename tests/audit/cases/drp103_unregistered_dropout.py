"""A dropout module that the model does not own."""

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class MadeInForward(nn.Module):
    """A new module at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(nn.Dropout(0.5)(self.inner(x).relu()))


class InAList(nn.Module):
    """Modules in a list, plain or registered, or put in the right mode by hand."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        drops = [nn.Dropout(0.1), nn.Dropout(0.2)]
        self.drops = nn.ModuleList(drops) if kind == "registered" else drops
        self.head = nn.Linear(16, 4)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        for layer, drop in zip(self.layers, self.drops, strict=True):
            if self.kind == "by hand":
                drop.train(self.training)
            x = drop(layer(x).relu())
        return self.head(x)


VECTORS = numbers(8, 16)
BAD = [
    Case("made in forward", MadeInForward, VECTORS),
    Case("in a plain list", lambda: InAList("plain"), VECTORS),
]
GOOD = [
    Case("in a module list", lambda: InAList("registered"), VECTORS),
    Case("mode by hand", lambda: InAList("by hand"), VECTORS),
]
