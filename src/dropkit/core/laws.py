"""What a mask does to the elements it keeps and to those it drops: a law a kind of dropout.

A kept element becomes ``x * gain + shift``, a dropped one `fill`, whatever it was. A gradient and
a tangent follow the law's slope: the same gain, and nothing added. Under the law `GAUSSIAN` nothing
is dropped and each element is multiplied by a number of its own.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dropkit.core.rate import STEPS, scale_from_threshold

#: Minus the value that SELU tends to: the product of its two constants (Klambauer et al. 2017).
_SATURATION = 1.7580993408473766


#: The law that has no kept and dropped elements, and is its own slope; see `noise`.
GAUSSIAN = "gaussian"


class Law(NamedTuple):
    """What becomes of an element.

    Attributes:
        gain: A kept element is multiplied by this ...
        shift: ... and this is added.
        fill: What a dropped element becomes.
    """

    gain: float = 1.0
    shift: float = 0.0
    fill: float = 0.0


def _alpha(threshold: int) -> Law:
    """Dropped elements saturate; then an affine map brings mean 0 and variance 1 back."""
    p, s = threshold / STEPS, _SATURATION
    if threshold == STEPS:
        return Law()
    gain = 1 / math.sqrt((1 - p) * (1 + p * s * s))
    return Law(gain, shift=gain * p * s, fill=-gain * (1 - p) * s)


#: By name: what a threshold, the drop rate times 65536 in 0..65536, comes to.
LAWS: dict[str, Callable[[int], Law]] = {
    "inverted": lambda threshold: Law(scale_from_threshold(threshold)),
    "vanilla": lambda _: Law(),
    "alpha": _alpha,
    "alpha slope": lambda threshold: Law(_alpha(threshold).gain),
}
#: The laws whose gradients follow another one.
SLOPES: dict[str, str] = {"alpha": "alpha slope"}


def obey(law: Law, x: Tensor, is_dropped: Tensor) -> Tensor:
    """The law on `x`, as a new tensor laid out as an elementwise operation lays out its result.

    Product and sum are each rounded; halves are computed in float32 and rounded once.

    Args:
        law: Its numbers are rounded once to the type that is computed in.
        x: ``(*)`` float32, float64, bfloat16 or float16.
        is_dropped: bool, of a shape that broadcasts to that of `x`.
    """
    wide = x.float() if _is_widened(law, x) else x
    out = wide * law.gain
    if law.shift:
        out += law.shift
    return out.to(x.dtype).masked_fill_(is_dropped, law.fill)


def obey_(law: Law, x: Tensor, is_dropped: Tensor) -> None:
    """`obey`, written to `x`."""
    if _is_widened(law, x):
        x.copy_(obey(law, x, is_dropped))
        return
    if law.gain != 1.0:
        x.mul_(law.gain)
    if law.shift:
        x.add_(law.shift)
    x.masked_fill_(is_dropped, law.fill)


def _is_widened(law: Law, x: Tensor) -> bool:
    # torch multiplies halves by a number in float32 and rounds once, as we do
    return law.shift != 0 and x.dtype.itemsize < 4
