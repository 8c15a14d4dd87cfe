"""Dropout whose output only chooses."""

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Quantizer(nn.Module):
    """The nearest of some vectors, by scores."""

    def __init__(self, *, drops_scores: bool) -> None:
        super().__init__()
        self.scores, self.codes = nn.Linear(16, 8), nn.Embedding(8, 16)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(16, 4)
        self.drops_scores = drops_scores

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        scores = self.scores(x)
        if self.drops_scores:
            return self.head(self.codes(self.drop(scores).argmax(-1)))
        return self.head(self.drop(self.codes(scores.argmax(-1))))


VECTORS = numbers(8, 16)
BAD = [Case("scores", lambda: Quantizer(drops_scores=True), VECTORS)]
GOOD = [Case("codes", lambda: Quantizer(drops_scores=False), VECTORS)]
