"""A module that takes a rate and does nothing with it."""

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Unused(nn.Module):
    """Takes a rate for attention that goes nowhere."""

    def __init__(self, attn_dropout=0.1, ff_dropout=0.1) -> None:  # noqa: ARG002 - the fault
        super().__init__()
        self.inner, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.drop = nn.Dropout(ff_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(self.drop(self.inner(x).relu()))


class Gate(nn.Module):
    """Loads its argument in a function within."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(self._layer(dropout) for _ in range(2)), nn.Linear(16, 4))

    @staticmethod
    def _layer(p: float) -> nn.Module:
        return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Dropout(p))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.layers(x)


class KeptForOthers(Gate):
    """Says by the name of its argument that it is no longer used."""

    def __init__(self, _dropout: float = 0.5) -> None:
        super().__init__(0.1)


class AllAtOnce(nn.Module):
    """Asks for its arguments by another way."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.settings = dict(locals())
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(x)


VECTORS = numbers(8, 16)
BAD = [Case("attention", Unused, VECTORS, fault="x-transformers#175")]
GOOD = [
    Case("used", lambda: nn.Sequential(nn.Linear(16, 16), Gate(0.1)), VECTORS),
    Case("all at once", AllAtOnce, VECTORS),
    Case("kept for others", KeptForOthers, VECTORS),
]
