"""What cannot be predicted with is refused in one sentence, and nothing is left changed."""

import math
import re
from typing import Any

import pytest
import torch
from torch import nn

from dropkit import mc_predict
from dropkit.errors import (
    AddressError,
    DataError,
    DkError,
    OptionError,
    ShapeError,
    SiteError,
)
from support_models import MODELS

MLP = MODELS["mlp"].build()
X = MODELS["mlp"].batch


@pytest.mark.parametrize(
    ("model", "batch", "how", "error", "message"),
    [
        (MLP, X, {"samples": 1}, OptionError, "`samples` must be a whole number of at least 2; got 1."),
        (MLP, X, {"samples": 2.5}, OptionError, "`samples` must be a whole number of at least 2; got 2.5."),
        (MLP, X, {"tolerance": 0.0}, OptionError, "`tolerance` must be above 0; got 0.0."),
        (MLP, X, {"tolerance": math.nan}, OptionError, "`tolerance` must be above 0; got nan."),
        (MLP, X, {"kind": "both"}, OptionError, "`kind` must be 'classification' or 'regression'; got 'both'."),
        (MLP, X, {"memory_budget": -1}, OptionError, "`memory_budget` must be a whole number of bytes, 0 or more; got -1."),
        (MLP, X, {"memory_budget": 0.5}, OptionError, "`memory_budget` must be a whole number of bytes, 0 or more; got 0.5."),
        (MLP, X, {"seed": -1}, AddressError, "`seed` must be a whole number in [0, 2**64); got -1."),
        (MLP, X, {"ids": [1, 2]}, ShapeError, "`ids` must hold one whole number an example; got 2 for 8 examples."),
        (MLP, X, {"output": str}, OptionError, "`output` must pick a floating tensor from what the model gives; got a str."),
        (MLP, X[:0], {}, ShapeError, "`batch` must hold at least one example; got shape (0, 16)."),
        (MLP, {"x": 1}, {}, ShapeError, "`batch` must hold a tensor whose first dimension are examples; got none."),
        (MLP, 5, {}, OptionError, "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; got a int."),
        (
            MLP,
            torch.cat([X[:1], X[1:3] * torch.nan]),
            {},
            DataError,
            "`model` must give finite numbers; got nan or an infinity for 2 of 3 examples in sample 0, the first of them at position 1.",
        ),
        (
            MLP,
            X,
            {"output": lambda y: y.sum()},
            ShapeError,
            "`output` must have the shape (B, ..., C) with 8 examples first; got ().",
        ),
        (
            nn.Sequential(nn.Linear(16, 2), nn.Dropout(0.0)),
            X,
            {},
            SiteError,
            "`model` must draw a mask at a site that `only` names; none was drawn. Look with dropkit.find_sites(model, batch) whether their rates are above 0.",
        ),
        (nn.Linear(16, 2), X, {}, SiteError, "`only` must name sites of the model; no site matches '*'. The model has no dropout."),
    ],
)  # fmt: skip
def test_bad_input(
    model: nn.Module, batch: Any, how: Any, error: type[DkError], message: str
) -> None:
    """What cannot be predicted with is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        mc_predict(model, batch, **how)


def test_replay_of_too_many() -> None:
    """A sub-network that knows its examples is not called on others."""
    sub_network = mc_predict(MLP, X, 2, ids=range(8)).replay(0)
    message = "`ids` must hold one whole number an example; got 8 for 3 examples."
    with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
        sub_network(X[:3])
