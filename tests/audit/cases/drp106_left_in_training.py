"""A part of a model in eval mode that was left in training mode."""

from torch import nn

from support_cases import Case
from support_entry import numbers


def model() -> nn.Sequential:
    """An encoder that drops, and a head."""
    encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 8))
    return nn.Sequential(encoder, nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 4))


def encoder_in_training() -> nn.Sequential:
    """As after ``encoder.train()`` in a model that serves."""
    made = model().eval()
    made[0].train()
    return made


def encoder_in_eval() -> nn.Sequential:
    """The other way round: a frozen encoder in a model that learns."""
    made = model()
    made[0].eval()
    return made


def monte_carlo() -> nn.Sequential:
    """Only dropout is awake."""
    made = model().eval()
    made[0][2].train()
    made[2].train()
    return made


VECTORS = numbers(8, 16)
BAD = [Case("encoder", encoder_in_training, VECTORS)]
GOOD = [
    Case("all in eval", lambda: model().eval(), VECTORS),
    Case("encoder in eval", encoder_in_eval, VECTORS),
    Case("monte carlo", monte_carlo, VECTORS),
]
