"""Where dropout acts in a model."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropkit.core.scope import site_name


@dataclass(frozen=True)
class Site:
    """One place where dropout acts.

    Attributes:
        name: Dotted path of the module from the model.
        kind: Name of its class.
        rate: Drop rate in [0, 1].
        active: Whether a forward would draw a mask now: in training mode, at a rate above 0.
    """

    name: str
    kind: str
    rate: float
    active: bool

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


def dropout_modules(model: nn.Module) -> Iterator[tuple[str, _DropoutNd]]:
    """(site name, module) of each ``nn.Dropout*``, dropkit's and a user's own subclasses, once."""
    for path, module in model.named_modules():
        if isinstance(module, _DropoutNd):
            yield site_name(path), module


def find_sites(model: nn.Module) -> list[Site]:
    """List the modules of `model` that do dropout, in the order they are registered.

    Sees ``torch.nn.Dropout``, ``Dropout1d/2d/3d``, ``AlphaDropout``, ``FeatureAlphaDropout``,
    dropkit's layers and subclasses of these. It does not see rates that are plain numbers:
    ``F.dropout`` calls, attention's ``dropout_p``, or ``dropout=`` of recurrent layers and
    ``nn.MultiheadAttention``.

    Args:
        model: Any module; it is only read.

    >>> find_sites(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)))
    [Site(name='1', kind='Dropout', rate=0.3, active=True)]
    """
    return [
        Site(name, type(module).__name__, float(module.p), module.training and module.p > 0)
        for name, module in dropout_modules(model)
    ]
