"""Dropout whose output reaches a batch norm."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


def net(*layers: nn.Module) -> nn.Sequential:
    """Convolution, what is given, and a head."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


class WideBlock(nn.Module):
    """Dropout between two convolutions, the second of which a batch norm follows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.drop = nn.Dropout2d(0.5)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16, height, width)`` to the same."""
        return self.norm2(self.conv2(self.drop(self.conv1(self.norm1(x).relu()).relu()))).relu()


class NoShift(nn.Module):
    """A batch norm beside the dropout, not behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(torch.cat([self.norm(x), self.drop(x)], dim=1))


class Frozen(nn.BatchNorm2d):
    """A batch norm that never trains."""

    def train(self, mode: bool = True) -> "Frozen":  # noqa: ARG002 - it stays as it is
        """Stay in eval mode."""
        return super().train(False)


IMAGES = numbers(32, 3, 8, 8)
VECTORS = numbers(64, 16)
BAD = [
    Case(
        "right in front",
        lambda: net(nn.Dropout2d(0.3), nn.BatchNorm2d(16), nn.ReLU()),
        IMAGES,
        fault="Li et al. 2019",
    ),
    Case("behind a relu", lambda: net(nn.Dropout2d(0.3), nn.ReLU(), nn.BatchNorm2d(16)), IMAGES),
    Case("a convolution between", lambda: net(WideBlock()), IMAGES),
    Case(
        "vectors",
        lambda: nn.Sequential(
            nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(32), nn.Linear(32, 4)
        ),
        VECTORS,
    ),
]
GOOD = [
    Case("behind", lambda: net(nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout2d(0.3)), IMAGES),
    Case(
        "no running statistics",
        lambda: net(nn.Dropout2d(0.3), nn.BatchNorm2d(16, track_running_stats=False)),
        IMAGES,
    ),
    Case("frozen", lambda: net(nn.Dropout2d(0.3), Frozen(16)), IMAGES),
    Case("another norm", lambda: net(nn.Dropout2d(0.3), nn.GroupNorm(4, 16)), IMAGES),
    Case("rate of zero", lambda: net(nn.BatchNorm2d(16)), IMAGES),
    Case("beside", NoShift, VECTORS),
    Case(
        "small and far",
        lambda: nn.Sequential(
            nn.Linear(16, 64),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(64, 64),
            nn.BatchNorm1d(64),
            nn.Linear(64, 4),
        ),
        VECTORS,
    ),
    Case(
        "made to keep the variance",
        lambda: nn.Sequential(
            nn.Linear(16, 64), nn.SELU(), nn.AlphaDropout(0.1), nn.BatchNorm1d(64), nn.Linear(64, 4)
        ),
        VECTORS,
    ),
]
