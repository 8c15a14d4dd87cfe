"""Which operators of torch draw a mask, and at which rate."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from dropkit.core.rate import STEPS

#: Operators that draw numbers in [0, 1): a mask is what comes of comparing them.
UNIFORM = {"rand", "rand_like", "uniform", "uniform_", "words"}
#: What makes a mask of such numbers, and what hands them on.
COMPARISONS = {"lt", "le", "gt", "ge", "floor", "floor_", "round", "_local_scalar_dense"}
HANDED_ON = {
    *("add", "add_", "sub", "rsub", "mul", "div", "detach", "clone", "_to_copy", "copy_"),
    *("alias", "expand", "view", "unsqueeze", "slice", "select", "__rshift__"),
}
#: These come as one operator in inference mode, and else as what they are made of.
_WHOLE = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}


class Draw(NamedTuple):
    """A mask that an operator draws.

    Attributes:
        function: Name of the operator.
        rate: Drop rate in [0, 1]; nan where each element has its own.
        elements: How many are drawn.
    """

    function: str
    rate: float
    elements: int


def draw_of(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Draw | None:
    """The mask that a call of an operator draws, None where it draws none."""
    namespace, _, name = operator.name().partition("::")
    name = name.partition(".")[0]
    if "backward" in name:
        return None
    given = _given(operator, args, kwargs)
    if namespace == "dropkit":
        rate = _rate_in_dropkits(name, given)
    elif namespace == "aten":
        rate = _rate_in_torchs(name, given)
    else:
        rate = _rate_in_others(given)
    return None if rate is None else Draw(name, rate, _elements(name, given))


def rate_of_keep(keep: Any) -> float:
    """The drop rate of a mask that is kept with this chance, without the rounding of ``1 - p``."""
    return round(1.0 - keep, 15) if isinstance(keep, (int, float)) else math.nan


def _rate_in_dropkits(name: str, given: dict[str, Any]) -> float | None:
    mask = given.get("mask")  # key, stream and threshold
    if not isinstance(mask, Tensor) or name.startswith("draw"):
        return None
    if name == "words":
        return math.nan
    return int(mask[2].item()) / STEPS


def _rate_in_torchs(name: str, given: dict[str, Any]) -> float | None:
    if name in ("bernoulli", "bernoulli_"):
        keep = given.get("p")
        return rate_of_keep(keep)
    if name in ("native_dropout", "_fused_dropout"):
        return float(given["p"])
    if name.removesuffix("_") in _WHOLE:
        return float(given["p"]) if given["train"] and given["p"] > 0.0 else None
    # attention and recurrent layers
    rate = float(given.get("dropout_p") or given.get("dropout") or 0.0)
    is_training = given.get("train", True) and given.get("is_training", True)
    return rate if rate > 0.0 and is_training else None


def _rate_in_others(given: dict[str, Any]) -> float | None:
    """Attention kernels of other packages have a rate and no mode."""
    rates = (given.get(name) for name in ("dropout_p", "p_dropout"))
    return next((rate for rate in rates if isinstance(rate, float) and rate > 0.0), None)


def _given(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    parameters = operator._schema.arguments  # noqa: SLF001 - the only way to the names
    values = {a.name: a.default_value for a in parameters if a.has_default_value()}
    return values | {a.name: value for a, value in zip(parameters, args, strict=False)} | kwargs


def _elements(name: str, given: dict[str, Any]) -> int:
    query, key = given.get("query"), given.get("key")
    if isinstance(query, Tensor) and isinstance(key, Tensor):  # of the probabilities
        return query.numel() // max(query.shape[-1], 1) * key.shape[-2]
    if "shape" in given and "mask" in given:  # dropkit's, of a mask that elements share
        return math.prod(given["shape"])
    first = next((value for value in given.values() if isinstance(value, Tensor)), None)
    if first is None:
        return 0
    return math.prod(first.shape[:2]) if name.startswith("feature_") else first.numel()
