"""Numbers and names as a reader should see them."""

import math

from dropkit.core.estimate import Estimate

DASH = "\N{EM DASH}"
MINUS = "\N{MINUS SIGN}"

#: A difference this many times above or below what fixed decimals show reads better as a power.
_LARGEST_FIXED = 1e6

_READABLE = {
    "accuracy": "accuracy",
    "best_validation_loss": "lowest validation loss",
    "ece": "calibration error (ECE)",
    "gap": "train\N{EN DASH}validation gap",
    "n_train": "training examples",
    "n_validation": "validation examples",
    "peak_mib": "peak memory (MiB)",
    "step_s": "seconds a step",
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "wall_s": "time",
}


def readable(key: str) -> str:
    """A key such as ``"top_5_accuracy"`` in words."""
    return _READABLE.get(key, key.replace("_", " ").strip())


def capitalized(text: str) -> str:
    """`text` with its first letter large and the rest as it was."""
    return text[:1].upper() + text[1:]


def plain(value: object) -> str:
    """A choice of an arm: a number without needless digits, anything else as it is written."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


def percentage(share: float) -> str:
    """A share in [0, 1] such as 0.95 as ``"95%"``."""
    return f"{share * 100:g}%"


def decimals_for(size: float) -> int:
    """How many decimals show two digits of a number about as large as `size`; 3 to 6."""
    if not math.isfinite(size) or size <= 0.0:
        return 3
    return min(max(1 - math.floor(math.log10(size)), 3), 6)


def fixed(value: float | None, decimals: int = 3) -> str:
    """`value` with a set number of decimals; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) >= _LARGEST_FIXED:
        return f"{value:.3g}".replace("-", MINUS)
    text = f"{value:,.{decimals}f}"
    is_zero = not text.strip("-0.,")
    return text.lstrip("-") if is_zero else text.replace("-", MINUS)


def signed(value: float, decimals: int = 3) -> str:
    """`value` with its sign, as differences are written."""
    text = fixed(value, decimals)
    is_positive = text[0].isdigit() and value > 0.0 and bool(text.strip("0.,"))
    return f"+{text}" if is_positive else text


def interval(estimate: Estimate | None, decimals: int = 3) -> str:
    """The ends of an interval, or words where it has none."""
    if estimate is None or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return "no interval"
    return f"{signed(estimate.low, decimals)} to {signed(estimate.high, decimals)}"


def fact(key: str, value: object) -> tuple[str, str]:
    """A name and a value of what is known about a study, in words; ``_s`` ends a key in seconds."""
    if isinstance(value, float):
        text = f"{value:.6g}" if math.isfinite(value) else DASH
    else:
        text = str(value)
    if isinstance(value, int | float) and key.endswith("_s"):
        return readable(key if key in _READABLE else key.removesuffix("_s")), _duration(value)
    return readable(key), text


def _duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if not math.isfinite(seconds):
        return DASH
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 2:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
