"""Attention weights that the model returns after dropout was applied to them."""

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Attending(nn.Module):
    """A layer of attention, which returns its weights or does not."""

    def __init__(self, *, returns: bool, p: float = 0.3, average: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, dropout=p, batch_first=True)
        self.head, self.returns, self.average = nn.Linear(16, 4), returns, average

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(batch, steps, 16)`` to ``(batch, 4)`` and, by choice, the weights."""
        y, weights = self.attention(x, x, x, average_attn_weights=self.average)
        y = self.head(y.mean(1))
        return (y, weights) if self.returns else (y,)


SEQUENCES = numbers(4, 8, 16)
BAD = [
    Case("averaged over heads", lambda: Attending(returns=True), SEQUENCES, fault="pytorch#90842"),
    Case(
        "of each head",
        lambda: Attending(returns=True, average=False),
        SEQUENCES,
        fault="pytorch#42929",
    ),
]
GOOD = [
    Case("not returned", lambda: Attending(returns=False), SEQUENCES),
    Case("rate of zero", lambda: Attending(returns=True, p=0.0), SEQUENCES),
    Case(
        "a layer of torch's",
        lambda: nn.TransformerEncoderLayer(16, 2, 32, dropout=0.3, batch_first=True),
        SEQUENCES,
    ),
]
