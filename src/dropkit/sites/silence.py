"""All dropout of a model off."""

import contextlib

from torch import nn

from dropkit.sites.change import Change
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.sources import find_sources
from dropkit.sites.steering import OffSteer


def silence(model: nn.Module) -> Change:
    """Turn off all dropout in `model`, in training mode too.

    Rates that modules keep are 0, calls of functions draw nothing whatever their rate, and a mask
    made with ``torch.bernoulli`` is its own expectation. Modes and configs stay as they are; a mask
    made of ``torch.rand`` by hand, with no rate that a module keeps, is not seen, nor is what
    ``torch.jit`` has compiled. Code that is compiled meanwhile leaves calls that would draw to
    Python. A copy or a pickle made meanwhile has the rates of its modules at 0, but draws where it
    calls functions. Where activations are checkpointed, undo it behind the backward.

    Args:
        model: Any module.

    Returns:
        A handle with ``undo()``, usable in ``with``.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
    >>> x = torch.ones(1, 2)
    >>> with silence(model):
    ...     torch.equal(model(x), model[0](x))
    True
    """
    steps = contextlib.ExitStack()
    for source in find_sources(model):
        if source.is_settable:
            source.set(0.0, steps)
    steps.enter_context(ReplacedFunctions(model, OffSteer(model)))
    return Change(steps)
