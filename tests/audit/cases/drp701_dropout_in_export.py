"""Models as they are written down for serving."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Net(nn.Module):
    """Dropout as a module, as a gated function, and between the layers of an LSTM."""

    def __init__(self, p: float = 0.3) -> None:
        super().__init__()
        self.inner, self.drop, self.p = nn.Linear(16, 16), nn.Dropout(p), p
        self.rnn = nn.LSTM(16, 16, num_layers=2, dropout=p, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to ``(batch, 4)``."""
        x = self.drop(self.inner(x))
        if self.training:
            x = F.dropout(x, self.p)
        return self.head(self.rnn(x)[0][:, -1])


class Ungated(nn.Module):
    """A rate that asks for no mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 48)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to the same."""
        q, k, v = self.inner(x).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)


X = numbers(4, 5, 16)


def exported(model: nn.Module) -> Any:
    """By ``torch.export``."""
    return torch.export.export(model, (X,))


def scripted(model: nn.Module) -> Any:
    """By the compiler of TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is on its way out
        return torch.jit.script(model)


def traced(model: nn.Module) -> Any:
    """By a run that TorchScript watches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(model, X, check_trace=False)


BAD = [
    Case("exported in training mode", lambda: exported(Net()), None),
    Case("exported and taken apart", lambda: exported(Net()).run_decompositions(), None),
    Case("attention without a gate", lambda: exported(Ungated().eval()), None),
    Case("scripted in training mode", lambda: scripted(Net()), None),
    Case("traced in training mode", lambda: traced(Net()), None),
]
GOOD = [
    Case("exported in eval", lambda: exported(Net().eval()), None),
    Case("exported at rate 0", lambda: exported(Net(0.0)), None),
    Case("scripted in eval", lambda: scripted(Net().eval()), None),
    Case("script put in eval later", lambda: scripted(Net()).eval(), None),
    Case("traced in eval", lambda: traced(Net().eval()), None),
]
