"""`dropkit.nn.Dropout` is a drop-in for ``torch.nn.Dropout``."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit import masks_at
from dropkit.errors import OptionError, RateError


def _drawn(layer: nn.Module) -> list[float]:
    with masks_at(seed=1):
        return layer(torch.ones(100)).tolist()


@pytest.mark.parametrize("arguments", [(), (0.1,), (0.1, True), (1,), (0,)])
def test_constructor_and_repr(arguments: tuple[Any, ...]) -> None:
    """Positional arguments, attributes, repr and the empty state dict are torch's."""
    ours, theirs = dropkit.nn.Dropout(*arguments), nn.Dropout(*arguments)
    assert repr(theirs) == repr(ours)
    assert (theirs.p, theirs.inplace) == (ours.p, ours.inplace)
    assert (type(theirs.p), theirs.state_dict()) == (type(ours.p), ours.state_dict())


def test_is_torchs() -> None:
    """Code that looks for ``nn.Dropout`` finds it."""
    assert isinstance(dropkit.nn.Dropout(), nn.Dropout)


def test_repr_says_another_mode() -> None:
    """A mode that is not torch's shows in the repr."""
    assert "Dropout(p=0.1, inplace=False, mode='vanilla')" == repr(
        dropkit.nn.Dropout(0.1, mode="vanilla")
    )


def test_loads_a_model_of_torchs() -> None:
    """A state dict saved with torch's layers loads with ours, strictly."""

    def model(dropout: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), dropout, nn.Linear(2, 2))

    saved = model(nn.Dropout(0.1)).state_dict()
    assert "<All keys matched successfully>" == repr(
        model(dropkit.nn.Dropout(0.1)).load_state_dict(saved, strict=True)
    )


def test_training_and_eval() -> None:
    """It drops in training, and returns the input itself in eval."""
    layer, x = dropkit.nn.Dropout(0.5), torch.ones(100)
    assert {0.0, 2.0} == set(layer(x).tolist())
    assert layer.eval()(x) is x
    assert {0.0, 2.0} == set(layer.train()(x).tolist())


def test_vanilla() -> None:
    """The original form: unscaled in training, times the kept share in eval."""
    layer, x = dropkit.nn.Dropout(0.25, mode="vanilla"), torch.ones(100)
    assert {0.0, 1.0} == set(layer(x).tolist())
    assert {0.75} == set(layer.eval()(x).tolist())


def test_inplace() -> None:
    """In place the input itself comes back, changed."""
    x = torch.ones(100)
    assert dropkit.nn.Dropout(0.5, inplace=True)(x) is x
    assert {0.0, 2.0} == set(x.tolist())


def test_rate_may_change() -> None:
    """A rate that is set later acts at the next call, and is checked there."""
    layer = dropkit.nn.Dropout(0.5)
    layer.p = 0.75
    assert {0.0, 4.0} == set(_drawn(layer))
    layer.p = 0.0
    assert {1.0} == set(_drawn(layer))
    layer.p = 1.5
    message = "`p` must be a drop rate in [0, 1]; got 1.5."
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        _drawn(layer)


@pytest.mark.parametrize("mode", ["inverted", "vanilla"])
def test_copies(again: Any, mode: Any) -> None:
    """A copy, a pickle and a saved file bring back the same layer."""
    layer = dropkit.nn.Dropout(0.3, mode=mode)
    other = again(layer.eval())
    assert (dropkit.nn.Dropout, repr(layer), False) == (type(other), repr(other), other.training)
    assert _drawn(layer.train()) == _drawn(other.train())


def test_same_masks_as_the_function() -> None:
    """The layer is the function called at its site."""

    class ByHand(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return dropkit.functional.dropout(x, 0.5)

    assert _drawn(ByHand()) == _drawn(dropkit.nn.Dropout(0.5))


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (-0.5, "`p` must be a drop rate in [0, 1]; got -0.5."),
        (50, "`p` must be a drop rate in [0, 1]; got 50. Did you mean 0.5?"),
    ],
)
def test_rate_is_checked(p: float, message: str) -> None:
    """A wrong rate is refused by the constructor, as the ValueError that torch raises."""
    with pytest.raises(RateError, match="^" + re.escape(message) + "$") as caught:
        dropkit.nn.Dropout(p)
    assert isinstance(caught.value, ValueError)


def test_mode_is_checked() -> None:
    """A wrong mode is refused by the constructor."""
    message = "`mode` must be 'inverted' or 'vanilla'; got 'Inverted'."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropkit.nn.Dropout(0.5, mode="Inverted")


def test_mode_is_a_keyword() -> None:
    """The third positional argument stays free, as torch has none."""
    with pytest.raises(TypeError, match="positional argument"):
        dropkit.nn.Dropout(0.5, False, "vanilla")
