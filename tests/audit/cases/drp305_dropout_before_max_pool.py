"""Single elements are dropped right in front of a max-pool."""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


def net(*layers: nn.Module) -> nn.Sequential:
    """A convolution, what is given, and a head."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


class ByFunction(nn.Module):
    """A max-pool that is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, height, width)`` to half of the sides."""
        return F.max_pool2d(self.drop(x.relu()), 2)


class Steps(nn.Module):
    """Dropout on ``(batch, steps, features)``, which is turned for the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop, self.pool = nn.Linear(8, 16), nn.Dropout(0.25), nn.MaxPool1d(8)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 8, 8)`` to ``(batch, 4)``."""
        x = self.drop(self.inner(x).relu())
        return self.head(self.pool(x.transpose(1, 2)).squeeze(2))


IMAGES = numbers(8, 1, 18, 18)
BAD = [
    Case(
        "between relu and pool",
        lambda: net(nn.ReLU(), nn.Dropout(0.25), nn.MaxPool2d(2)),
        IMAGES,
    ),
    Case("a function", lambda: net(ByFunction()), IMAGES),
    Case("turned in between", Steps, numbers(16, 8, 8)),
    Case("without a relu", lambda: net(nn.Dropout(0.25), nn.MaxPool2d(2), nn.ReLU()), IMAGES),
]
GOOD = [
    Case("behind the pool", lambda: net(nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)), IMAGES),
    Case("channels", lambda: net(nn.ReLU(), nn.Dropout2d(0.25), nn.MaxPool2d(2)), IMAGES),
    Case(
        "a convolution between",
        lambda: net(nn.ReLU(), nn.Dropout(0.25), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2)),
        IMAGES,
    ),
]
