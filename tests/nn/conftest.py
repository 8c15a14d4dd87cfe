"""What the tests of layers share."""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn


def _copied(layer: nn.Module) -> nn.Module:
    return copy.deepcopy(layer)


def _pickled(layer: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(layer))


def _saved(layer: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.fixture(params=[_copied, _pickled, _saved])
def again(request: pytest.FixtureRequest) -> Callable[[nn.Module], nn.Module]:
    """The layer a second time: a copy, from a pickle, from a file."""
    return request.param
