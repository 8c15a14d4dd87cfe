"""Encoded examples: token ids, and which of them a model was trained to say."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dropkit.errors import DataError

#: The label of a token without loss, as torch's cross entropy and transformers have it.
NO_LOSS = -100


class Encoded(NamedTuple):
    """One example.

    Attributes:
        ids: ``(n,)`` int64 on the CPU.
        is_counted: ``(n,)`` bool: which tokens have a loss. The first never has one, since nothing
            stands before it.
    """

    ids: Tensor
    is_counted: Tensor


def encoded(examples: Sequence[Any], name: str) -> list[Encoded]:
    """Read examples in any of the forms that `memorization` takes.

    Args:
        examples: ``(n,)`` tensors of ids, or objects with ``input_ids`` and ``labels``.
        name: Of the argument, for what is said of it.

    Raises:
        DataError: There is no example, or one is not of such a form or has no token with loss.
    """
    if len(examples) == 0:
        raise DataError(f"`{name}` must hold at least one example; got none.")
    return [_read(example, f"example {i} of `{name}`") for i, example in enumerate(examples)]


def _read(example: Any, which: str) -> Encoded:
    if isinstance(example, Tensor):
        ids, labels = _whole(example, which), None
    elif hasattr(example, "input_ids"):
        ids = _whole(example.input_ids, which)
        found = getattr(example, "labels", None)
        labels = None if found is None else _whole(found, which)
    else:
        raise DataError(
            f"{which} must be a tensor of token ids or have `input_ids` and `labels`; got a "
            f"{type(example).__name__}."
        )
    is_counted = torch.ones_like(ids, dtype=torch.bool)
    if labels is not None:
        if len(labels) != len(ids):
            raise DataError(
                f"{which} must have as many labels as ids; got {len(labels)} for {len(ids)}."
            )
        is_counted = labels != NO_LOSS
        if not torch.equal(ids[is_counted], labels[is_counted]):
            raise DataError(
                f"{which} must have labels that are its ids or {NO_LOSS}; got others. Labels are "
                "not shifted: the model's loss does that."
            )
    is_counted[:1] = False
    if not bool(is_counted.any()):
        raise DataError(f"{which} must have a token with loss behind its first; got none.")
    return Encoded(ids, is_counted)


def _whole(values: Any, which: str) -> Tensor:
    try:
        found = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values))
    except (TypeError, ValueError, RuntimeError):
        found = None  # nothing that numbers could be read from
    is_whole = found is not None and not (
        found.is_floating_point() or found.is_complex() or found.dtype == torch.bool
    )
    if found is None or not is_whole or found.dim() != 1:
        raise DataError(f"{which} must be whole numbers in one dimension; got others.")
    return found.detach().to("cpu", torch.int64, copy=True)


def n_shared(train: Sequence[Encoded], held_out: Sequence[Encoded]) -> int:
    """How many of `held_out` are in `train` too, token by token."""
    seen = {tuple(example.ids.tolist()) for example in train}
    return sum(tuple(example.ids.tolist()) in seen for example in held_out)
