"""A mask in as many pieces as there are threads."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Split(nn.Module):
    """Each piece of a tensor has a generator of its own, seeded by the default one."""

    def __init__(self, pieces: int | None) -> None:
        super().__init__()
        self.pieces, self.inner, self.head = pieces, nn.Linear(16, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        x = self.inner(x)
        if self.training:
            seed, pieces = int(torch.randint(2**31, ())), self.pieces or torch.get_num_threads()
            parts = [
                torch.rand(part.shape, generator=torch.Generator().manual_seed(seed + number)) < 0.7
                for number, part in enumerate(x.tensor_split(pieces))
            ]
            x = x * torch.cat(parts) / 0.7
        return self.head(x)


VECTORS = numbers(8, 16)
BAD = [Case("a piece for each thread", lambda: Split(None), VECTORS)]
GOOD = [
    Case("two pieces", lambda: Split(2), VECTORS),
    Case(
        "torch's",
        lambda: nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 4)),
        VECTORS,
    ),
]
