"""Any of dropkit's results as strict JSON."""

import json
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real


def json_text(document: object) -> str:
    """`document` as JSON with a line end behind it.

    JSON knows neither nan nor the infinities, so each of them becomes null.
    """
    text = json.dumps(_as_json(document), indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


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
