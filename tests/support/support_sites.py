"""Small models for the tests of sites, and what is to be seen of them."""

import inspect
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from dropkit.sites.replaced import PLACES


class Mixed(nn.Module):
    """One dropout module, one call at a literal rate, one at a rate in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.drop = nn.Dropout(0.5)
        self.rate = 0.3

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 6)`` to the same."""
        x = F.dropout(self.drop(self.inner(x)), 0.4, self.training)
        return F.dropout(x, self.rate, self.training)


class Calls(nn.Module):
    """Calls a function of its input.

    Args:
        function: Of the input, and of the module too where it takes two arguments.
        attributes: For the function to read.
    """

    def __init__(self, function: Callable[..., Any], **attributes: object) -> None:
        super().__init__()
        self.function = function
        self.n_arguments = len(inspect.signature(function).parameters)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        """As told."""
        return self.function(x, self) if self.n_arguments == 2 else self.function(x)


#: What there is in `Mixed`.
MIXED = {"drop": 0.5, "dropout": 0.4, "dropout#2": 0.3}


def rates(model: nn.Module, batch: object) -> dict[str, float | None]:
    """The rates of all sites that a run shows."""
    return {site.name: site.rate for site in dropkit.find_sites(model, batch)}


def active(model: nn.Module, batch: object) -> list[str]:
    """The sites that draw, in the mode that the model is in."""
    return [site.name for site in dropkit.find_sites(model, batch) if site.active]


def functions_replaced() -> list[str]:
    """The names of functions that are not torch's or dropkit's own at the moment."""
    return [name for holder, name, theirs, _ in PLACES if getattr(holder, name) != theirs]
