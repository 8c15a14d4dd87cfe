"""A study's result as a JSON file."""

import json
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path

from dropkit.core.files import write_text
from dropkit.studies.result import StudyResult


def write_json(result: StudyResult, path: Path) -> None:
    """Write every number of `result` as strict JSON.

    JSON knows neither nan nor the infinities, so each of them becomes null; an interval with a
    null end is one that nothing is known of.

    Args:
        result: What the study found.
        path: Where to; its folder must exist. Replaced in one step, kept where writing fails.

    Raises:
        OSError: The folder is missing or cannot be written.
    """
    document = _as_json(result.to_dict())
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _as_json(value: object) -> object:
    """`value` in the types that JSON has; numpy's numbers become Python's."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_as_json(item) for item in value]
    return str(value)
