"""Dropout that the usual Monte Carlo recipe does not wake."""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Attention(nn.Module):
    """Reads the rate of a module, and asks for a mode of its own, as BERT's and GPT-2's."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.attn_dropout, self.resid_dropout = nn.Dropout(0.1), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        rate = self.attn_dropout.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return self.resid_dropout(self.out(y.transpose(1, 2).flatten(2)))


class Torchs(nn.Module):
    """Attention of torch's, beside a dropout module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to ``(batch, steps, 4)``."""
        y = self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.drop(x + y))


def recipe(model: nn.Module) -> nn.Module:
    """What is found in many Monte Carlo scripts."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    return model


SEQUENCES = numbers(2, 6, 16)
BAD = [
    Case("rate of a module", lambda: recipe(Attention()), SEQUENCES, fault="BERT and GPT-2"),
    Case("multi-head attention", lambda: recipe(Torchs()), SEQUENCES),
]
GOOD = [
    Case("in eval", lambda: Attention().eval(), SEQUENCES),
    Case(
        "modules only",
        lambda: recipe(
            nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 4))
        ),
        SEQUENCES,
    ),
]
