"""Dropout that is on in eval by design."""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from support_cases import Case
from support_entry import numbers


class Prenet(nn.Module):
    """Two layers that drop in use too, as Tacotron 2's."""

    dropkit_always_on = True

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 8), nn.Linear(8, 8)])

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 8)``."""
        for layer in self.layers:
            x = F.dropout(layer(x).relu(), 0.5, training=True)
        return x


class MCDropout(nn.Dropout):
    """Its name says what it is."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.dropout(x, self.p, training=True)


def declared_on_instance() -> nn.Sequential:
    """A part that is declared where it is built."""
    part = nn.Sequential(nn.Linear(16, 8), AlwaysDrops())
    part.dropkit_always_on = True
    return nn.Sequential(part, nn.Linear(8, 4))


def awakened() -> nn.Sequential:
    """Woken on purpose; batch norm is not."""
    model = nn.Sequential(
        nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 4)
    )
    dropkit.awaken(model)
    return model


class AlwaysDrops(nn.Module):
    """No declaration of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.dropout(x, 0.25)


VECTORS = numbers(8, 16)
BAD = [
    Case("prenet", lambda: nn.Sequential(Prenet(), nn.Linear(8, 4)), VECTORS),
    Case(
        "by its name",
        lambda: nn.Sequential(nn.Linear(16, 8), nn.ReLU(), MCDropout(0.2), nn.Linear(8, 4)),
        VECTORS,
        fault="meant: Monte Carlo wrappers that announce themselves",
    ),
    Case("by an attribute around it", declared_on_instance, VECTORS),
    Case("awaken", awakened, VECTORS),
]
GOOD = [
    Case(
        "off in eval",
        lambda: nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 4)),
        VECTORS,
    )
]
