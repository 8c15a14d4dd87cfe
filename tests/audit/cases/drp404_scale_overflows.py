"""Numbers that the scale of dropout makes larger than their type can hold."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Large(nn.Module):
    """Activations up to 50,000, all or one of them, in a type of choice."""

    def __init__(self, p: float, dtype: torch.dtype, *, only_one: bool = False) -> None:
        super().__init__()
        self.inner, self.drop, self.head = nn.Linear(16, 64), nn.Dropout(p), nn.Linear(64, 4)
        self.dtype, self.only_one = dtype, only_one

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        x = self.inner(x).tanh()
        sizes = x / x.abs().max()
        if self.only_one:
            sizes = torch.where(sizes.abs() < 1, sizes / 1000, sizes)
        x = (sizes * 50_000).to(self.dtype)
        return self.head(self.drop(x).clamp(-1e4, 1e4).float())


VECTORS = numbers(64, 16)
BAD = [
    Case("float16", lambda: Large(0.5, torch.float16), VECTORS),
    Case(
        "had it been kept",
        lambda: Large(0.9, torch.float16, only_one=True),
        VECTORS,
        also=("DRP601",),
    ),
]
GOOD = [
    Case("room enough", lambda: Large(0.1, torch.float16), VECTORS),
    Case("bfloat16", lambda: Large(0.5, torch.bfloat16), VECTORS),
    Case("float32", lambda: Large(0.5, torch.float32), VECTORS),
]
