"""Whether two answers to one request are the same."""

import json
import math
from collections.abc import Collection
from typing import Any


def differ(first: Any, second: Any, *, tolerance: float, ignore: Collection[str] = ()) -> bool:
    """Whether two answers differ by more than `tolerance` in a number, or in anything else.

    Args:
        first: Plain data, or the bytes of a response: those of JSON are compared as data.
        second: Likewise.
        tolerance: Greatest absolute difference of two numbers, at least 0.
        ignore: Keys, at any depth, that may differ: an id, a time.

    >>> differ({"p": 0.5, "id": 1}, {"p": 0.5, "id": 2}, tolerance=0.0, ignore=["id"])
    False
    """
    if isinstance(first, bytes) and isinstance(second, bytes):
        try:
            first, second = json.loads(first), json.loads(second)
        except ValueError:
            return bool(first != second)
    return _differ(first, second, tolerance, ignore)


def _differ(first: Any, second: Any, tolerance: float, ignore: Collection[str]) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        keys = {key for key in (*first, *second) if key not in ignore}
        return any(
            key not in first
            or key not in second
            or _differ(first[key], second[key], tolerance, ignore)
            for key in keys
        )
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) != len(second) or any(
            _differ(a, b, tolerance, ignore) for a, b in zip(first, second, strict=True)
        )
    if _is_number(first) and _is_number(second):
        if math.isnan(first) or math.isnan(second):
            return not (math.isnan(first) and math.isnan(second))
        return first != second and not abs(first - second) <= tolerance
    return bool(first != second)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
