"""Attention that still drops in eval mode."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


@torch.library.custom_op("dropkit_cases::fused_attention", mutates_args=())
def fused_attention(q: Tensor, k: Tensor, v: Tensor, dropout_p: float) -> Tensor:
    """Stands for a fused kernel: a rate, and no mode."""
    return F.scaled_dot_product_attention(q, k, v) * (1.0 - 0.0 * dropout_p)


@fused_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, dropout_p: float) -> Tensor:
    del k, v, dropout_p
    return torch.empty_like(q)


class Attention(nn.Module):
    """Two heads."""

    def __init__(self, p: float, *, is_gated: bool, is_fused: bool = False) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.p, self.is_gated, self.is_fused = p, is_gated, is_fused

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        rate = self.p if self.training or not self.is_gated else 0.0
        if self.is_fused:
            y = fused_attention(q, k, v, rate)
        else:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return self.out(y.transpose(1, 2).flatten(2))


SEQUENCES = numbers(2, 6, 16)
BAD = [
    Case(
        "a float",
        lambda: Attention(0.1, is_gated=False),
        SEQUENCES,
        fault="pytorch#124464, pytorch#99293, timm PR#1978, nanoGPT#240",
    ),
    Case(
        "fused kernel",
        lambda: Attention(0.2, is_gated=False, is_fused=True).requires_grad_(False),
        SEQUENCES,
        fault="torchtune#1791",
    ),
]
GOOD = [
    Case("gated", lambda: Attention(0.1, is_gated=True), SEQUENCES),
    Case("rate 0", lambda: Attention(0.0, is_gated=False), SEQUENCES),
    Case(
        "gated kernel",
        lambda: Attention(0.2, is_gated=True, is_fused=True).requires_grad_(False),
        SEQUENCES,
    ),
]
