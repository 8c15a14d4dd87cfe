"""Statistics of batch norm, estimated anew in the mode in which they are used."""

import contextlib
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from dropkit.errors import OptionError
from dropkit.sites.untouched import untouched
from dropkit.sites.watch import arguments_of

#: running_mean, running_var, num_batches_tracked
_Statistics = tuple[Tensor, Tensor, Tensor]


def recalibrate_batch_norm(model: nn.Module, loader: Iterable[Any]) -> nn.Module:
    """Estimate the running statistics of every batch norm anew, without dropout.

    Dropout in front of a batch norm changes the variance that it sees in training, and the running
    statistics that it keeps for use are then those of training. Here `model` runs on the batches of
    `loader` in eval mode, except that each batch norm normalizes by the batch and averages its
    statistics: each batch counts alike, whatever ``momentum`` says. Train first, call this last,
    and compare the loss on held-out data: that the statistics are right does not say that the loss
    falls. On the small networks of ``bench/recalibration.py`` it mostly rises, since the layers
    behind the batch norm have learned with the other ones.

    Args:
        model: With at least one batch norm of any kind that keeps running statistics. Nothing
            else of it is changed, nor are modes, gradients and random generators. Where an error is
            raised on the way, nothing at all is.
        loader: Batches as `model` is called with: tensors, tuples of arguments, or mappings of
            names to arguments. It is read once.

    Returns:
        `model`. The statistics of a batch norm that no batch has reached stay as they were.

    Raises:
        OptionError: There is no such batch norm, the loader is empty, or a batch is of another
            kind.

    Source:
        Li et al. 2019, CVPR, arXiv:1801.05134, for the shift of variance, and for this remedy.

    >>> model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(1))
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> recalibrate_batch_norm(model, [x])[1].running_mean
    tensor([2.])
    >>> pairs = [(x, torch.zeros(2))]
    >>> recalibrate_batch_norm(model, (inputs for inputs, _ in pairs))[1].running_var
    tensor([2.])
    """
    norms: list[Any] = [module for module in model.modules() if _keeps_statistics(module)]
    if not norms:
        raise OptionError("`model` must have a batch norm with running statistics; got none.")
    if any(is_lazy(norm.running_mean) for norm in norms):
        raise OptionError(
            "`model` must have statistics to recalibrate; got a lazy batch norm that has seen no "
            "input yet. Train it first."
        )
    with contextlib.ExitStack() as steps, untouched(model), torch.no_grad():
        model.eval()
        for norm in norms:
            steps.callback(setattr, norm, "momentum", norm.momentum)
            norm.momentum = None
            norm.training = True
            norm.reset_running_stats()
        _run(model, loader)
        found = {norm: _read(norm) for norm in norms if norm.num_batches_tracked.item() > 0}
    for norm, statistics in found.items():
        for kept, new in zip(_statistics(norm), statistics, strict=True):
            kept.data.copy_(new)
    return model


def _keeps_statistics(module: nn.Module) -> bool:
    return (
        isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and module.num_batches_tracked is not None
    )


def _statistics(norm: Any) -> _Statistics:
    return norm.running_mean, norm.running_var, norm.num_batches_tracked


def _read(norm: Any) -> list[Tensor]:
    return [x.detach().clone() for x in _statistics(norm)]


def _run(model: nn.Module, loader: Iterable[Any]) -> None:
    n_batches = 0
    for batch in loader:
        args, kwargs = arguments_of(batch)
        if isinstance(batch, (tuple, list)) and not _takes(model, args):
            raise OptionError(
                "`loader` must yield what the model is called with; got a "
                f"{type(batch).__name__} of {len(batch)}, which its forward does not take. Of "
                "pairs of inputs and targets pass the inputs: `(inputs for inputs, _ in loader)`."
            )
        model(*args, **kwargs)
        n_batches += 1
    if n_batches == 0:
        raise OptionError("`loader` must yield at least one batch; got none.")


def _takes(model: nn.Module, args: tuple[Any, ...]) -> bool:
    """Whether so many arguments can be passed to the model's forward."""
    try:
        inspect.signature(model.forward).bind(*args)
    except TypeError:
        return False
    return True
