"""In which modes a model was handed to the audit."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dropkit.auditing.observations import Observations
from dropkit.sites.code import functions_called


def is_half_awake(seen: Observations) -> bool:
    """Whether the model is in eval mode, and some module in it in training mode."""
    return not seen.model.training and any(module.training for module in seen.model.modules())


def only_dropout_is_awake(seen: Observations, part: nn.Module | None = None) -> bool:
    """Whether nothing in `part` is in training mode but what drops, and batch norms.

    So Monte Carlo dropout leaves a model, with batch norms where it goes wrong.
    """
    kept = {source.module for source in seen.sources}
    awake = [module for module in (part or seen.model).modules() if module.training]
    return all(
        module in kept or functions_called(type(module)) or isinstance(module, _BatchNorm)
        for module in awake
    )
