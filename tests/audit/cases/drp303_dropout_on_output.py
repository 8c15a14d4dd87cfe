"""Dropout on what the model predicts."""

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Returns(nn.Module):
    """A model that returns fields by name."""

    def __init__(self, *, is_dropped: bool) -> None:
        super().__init__()
        self.inner, self.drop, self.head = nn.Linear(16, 32), nn.Dropout(0.1), nn.Linear(32, 4)
        self.is_dropped = is_dropped

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """``(batch, 16)`` to logits ``(batch, 4)`` and a loss."""
        hidden = self.inner(x).tanh()
        logits = self.drop(self.head(hidden)) if self.is_dropped else self.head(self.drop(hidden))
        return {"loss": logits.square().mean(), "logits": logits}


VECTORS = numbers(32, 16)
BAD = [
    Case(
        "logits",
        lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4), nn.Dropout(0.1)),
        VECTORS,
    ),
    Case(
        "regression",
        lambda: nn.Sequential(nn.Linear(16, 1), nn.Dropout(0.5), nn.Flatten(0)),
        VECTORS,
    ),
    Case("by name", lambda: Returns(is_dropped=True), VECTORS),
    Case(
        "probabilities",
        lambda: nn.Sequential(nn.Linear(16, 3), nn.Dropout(0.2), nn.Sigmoid()),
        VECTORS,
    ),
]
GOOD = [
    Case("before the head", lambda: Returns(is_dropped=False), VECTORS),
    Case(
        "features",
        lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.1)),
        VECTORS,
    ),
    Case(
        "a block of a transformer",
        lambda: nn.Sequential(
            nn.Linear(16, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 16), nn.Dropout(0.1)
        ),
        VECTORS,
    ),
]
