"""A rate that is None while the rest drops."""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Layer(nn.Module):
    """Attention with a rate of its own beside the general one."""

    def __init__(
        self, dropout: float, attention_dropout: float | None, *, falls_back: bool
    ) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.drop = nn.Dropout(dropout)
        if attention_dropout is None and falls_back:
            attention_dropout = dropout
        self.attention_dropout = attention_dropout

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        rate = (self.attention_dropout or 0.0) if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return self.out(self.drop(y.transpose(1, 2).flatten(2)))


SEQUENCES = numbers(2, 6, 16)
BAD = [
    Case(
        "no fall-back",
        lambda: Layer(0.3, None, falls_back=False),
        SEQUENCES,
        fault="OpenNMT-py and others",
    )
]
GOOD = [
    Case("fall-back", lambda: Layer(0.3, None, falls_back=True), SEQUENCES),
    Case("0 on purpose", lambda: Layer(0.3, 0.0, falls_back=False), SEQUENCES),
]
