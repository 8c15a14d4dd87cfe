"""The tensors that a model returns."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

_DEPTH = 2


def named_outputs(output: Any) -> Iterator[tuple[str, Tensor]]:
    """Name and value of each floating tensor in what a model returns; the prediction is the first.

    Names are those of fields, or positions, with dots between: ``"logits"``, ``"0"``, and ``""``
    for a tensor that is all there is. A field ``"loss"`` comes last.
    """
    found = list(_walk("", output, _DEPTH))
    yield from (pair for pair in found if pair[0] != "loss")
    yield from (pair for pair in found if pair[0] == "loss")


def _walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield name, value
    elif depth:
        for key, part in _parts(value):
            yield from _walk(f"{name}.{key}".lstrip("."), part, depth - 1)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)  # a named tuple
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value):
        yield from ((part.name, getattr(value, part.name)) for part in dataclasses.fields(value))
