"""A model that is to learn, handed over in eval mode."""

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


def pretrained() -> nn.Sequential:
    """As ``from_pretrained`` returns it."""
    return nn.Sequential(
        nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)
    ).eval()


def loss(y: Tensor) -> Tensor:
    """Mean square."""
    return y.square().mean()


VECTORS = numbers(8, 16)
BAD = [Case("never put in training", pretrained, VECTORS, loss, fault="transformers#1703")]
GOOD = [
    Case("put in training", lambda: pretrained().train(), VECTORS, loss),
    Case("to be served", pretrained, VECTORS),
]
