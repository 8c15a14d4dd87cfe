"""An exported model, and the dropout that is left in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Dropkit's own operators that act under a mask, and the one that draws it.
OURS = frozenset(
    f"dropkit::{name}" for name in ("dropout", "dropout_add", "apply_noise", "attention", "words")
)
DRAW = "dropkit::draw"

_TRAIN_AND_P = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


@dataclass(frozen=True)
class LeftOver:
    """An operator of an exported model that draws a mask whenever the model is used.

    Attributes:
        site: Path of the module that it came from, or its name in the graph.
        function: Of the operator.
        rate: Drop rate in (0, 1]; None where the graph does not tell.
        where: ``file:line`` of the code that it came from, if the graph says so.
    """

    site: str
    function: str
    rate: float | None
    where: str | None = None


@dataclass(frozen=True)
class Artefact:
    """What was read.

    Attributes:
        kind: ``"ExportedProgram"``, ``"TorchScript"`` or ``"ONNX"``.
        left_over: The operators that draw.
        n_operators: How many operators there are.
        not_seen: Sentences on what the graph does not tell.
    """

    kind: str
    left_over: tuple[LeftOver, ...]
    n_operators: int
    not_seen: tuple[str, ...] = ()


def rate_drawn(name: str, given: Mapping[str, Any]) -> float | None:
    """The drop rate of an operator of torch's that draws a mask; nan where it is not told.

    Args:
        name: Without namespace and overload.
        given: Its arguments by name, as far as they are constants.

    Returns:
        None where it draws none, or where that is not sure.
    """
    name = name.removesuffix("_")
    if name == "bernoulli":
        keep = given.get("p")
        return 1.0 - keep if isinstance(keep, float) else math.nan
    if name in _TRAIN_AND_P or name == "native_dropout":
        rate, draws = given.get("p"), given.get("train") is True
    elif name in _RECURRENT:
        layers = given.get("num_layers")
        rate = given.get("dropout")
        draws = given.get("train") is True and isinstance(layers, int) and layers > 1
    elif "scaled_dot_product" in name:
        rate, draws = given.get("dropout_p"), True
    else:
        return None
    return float(rate) if draws and isinstance(rate, (int, float)) and rate > 0.0 else None


def left_over(
    site: str, name: str, given: Mapping[str, Any], where: str | None = None
) -> LeftOver | None:
    """What an operator leaves in the model; None where it draws no mask."""
    rate = rate_drawn(name, given)
    if rate is None:
        return None
    return LeftOver(site, name, None if math.isnan(rate) else rate, where)
