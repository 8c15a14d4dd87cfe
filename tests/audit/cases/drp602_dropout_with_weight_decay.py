"""Two penalties on the same weights."""

import torch
from torch import nn

from support_cases import Case
from support_entry import numbers


def mlp(p: float) -> nn.Sequential:
    """A perceptron."""
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 4))


def adamw(decay: float):
    """Says which optimizer is used."""
    return lambda model: {"optimizer": torch.optim.AdamW(model.parameters(), weight_decay=decay)}


def sgd(decay: float):
    """Likewise, with a decay that goes through the gradient."""
    return lambda model: {"optimizer": torch.optim.SGD(model.parameters(), weight_decay=decay)}


def only_biases(model: nn.Module) -> dict[str, torch.optim.Optimizer]:
    """A decay that no matrix has."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.0},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.5},
    ]
    return {"optimizer": torch.optim.AdamW(groups)}


VECTORS = numbers(8, 16)
BAD = [
    Case("adamw", lambda: mlp(0.5), VECTORS, options=adamw(0.1)),
    Case("sgd", lambda: mlp(0.5), VECTORS, options=sgd(0.01)),
]
GOOD = [
    Case("usual decay", lambda: mlp(0.5), VECTORS, options=adamw(0.01)),
    Case("usual decay of sgd", lambda: mlp(0.5), VECTORS, options=sgd(5e-4)),
    Case("low rate", lambda: mlp(0.1), VECTORS, options=adamw(0.1)),
    Case("biases only", lambda: mlp(0.5), VECTORS, options=only_biases),
    Case("no optimizer", lambda: mlp(0.5), VECTORS),
]
