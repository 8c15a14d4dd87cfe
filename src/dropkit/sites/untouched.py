"""Run a model and leave no trace in it."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """After the block, an error or not, the model and the generators are as before to the bit.

    Modes, parameters, buffers (batch norm's statistics), gradients and requires_grad are put back;
    inside, no parameter has a gradient yet. The generators are torch's, Python's and numpy's, with
    which some models skip layers. What a model keeps in attributes of its own is not known here.
    """
    modes = [(module, module.training) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    kept = [(x, x.detach().clone()) for x in tensors if not x.is_meta]
    slots = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()  # noqa: SLF001 - a forward may rebind one
    ]
    gradients = [(p, p.grad) for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    try:
        with generators_kept(model):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, name, buffer in slots:
            module._buffers[name] = buffer  # noqa: SLF001 - likewise
        with torch.no_grad():
            for x, before in kept:
                if not torch.equal(x, before):  # no counter tells: batch norm writes past it
                    x.data.copy_(before)
        for p, grad in gradients:
            p.grad = grad


@contextlib.contextmanager
def generators_kept(model: nn.Module) -> Iterator[None]:
    """After the block torch's generators, Python's and numpy's stand where they stood before."""
    others = random.getstate(), np.random.get_state()  # noqa: NPY002 - models draw from it
    tensors = [*model.parameters(), *model.buffers()]
    devices = {x.device for x in tensors if x.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=[device.index or 0 for device in devices]):
            yield
    finally:
        random.setstate(others[0])
        np.random.set_state(others[1])  # noqa: NPY002 - likewise
