"""Single elements of feature maps are dropped whose neighbours say the same."""

import torch
from torch import nn

from dropkit.nn import DropBlock2d
from support_cases import Case
from support_entry import numbers


def net(*layers: nn.Module) -> nn.Sequential:
    """Two convolutions with the given layers between."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        *layers,
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def _smooth() -> torch.Tensor:
    """Waves that are long beside a pixel, as in images."""
    line = torch.linspace(0, 6, 24)
    phases = torch.arange(8.0)[:, None, None]
    return ((line[:, None] + phases).sin() * (line[None] + 2 * phases).cos())[:, None]


BAD = [
    Case("between convolutions", lambda: net(nn.Dropout(0.3)), _smooth()),
    Case("before an average pool", lambda: net(nn.Dropout(0.3), nn.AvgPool2d(2)), _smooth()),
]
GOOD = [
    Case("channels", lambda: net(nn.Dropout2d(0.3)), _smooth()),
    Case("blocks", lambda: net(DropBlock2d(0.1, block_size=3)), _smooth()),
    Case("neighbours that differ", lambda: net(nn.Dropout(0.3)), numbers(8, 1, 24, 24)),
    Case(
        "flattened",
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Dropout(0.3), nn.Linear(968, 4)),
        _smooth(),
    ),
]
