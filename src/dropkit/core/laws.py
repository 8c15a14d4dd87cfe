"""What a mask does to the elements it keeps and to those it drops: a law a kind of dropout.

A kept element becomes ``x * gain + shift``, a dropped one `fill`, whatever it was. A gradient and
a tangent follow the law's slope: the same gain, and nothing added. Under the law `GAUSSIAN` nothing
is dropped and each element is multiplied by a number of its own.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
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


#: Numbers as wide as the floating types, for their bits.
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def obey(law: Law, x: Tensor, keep: Tensor) -> Tensor:
    """The law on `x`, as a new tensor laid out as an elementwise operation lays out its result.

    Product and sum are each rounded; halves are computed in float32 and rounded once.

    Args:
        law: Its numbers are rounded once to the type that is computed in.
        x: ``(*)`` float32, float64, bfloat16 or float16.
        keep: -1 where elements are kept and +0 where not: like `x`, of a shape that broadcasts.
    """
    # torch multiplies halves by a number in float32 and rounds once, as we do
    wide = x.float() if law.shift and x.dtype.itemsize < 4 else x
    out = wide * law.gain
    if law.shift:
        out += law.shift
    out = out.to(x.dtype)
    _select(law, out, keep)
    return out


def obey_(law: Law, x: Tensor, keep: Tensor) -> None:
    """`obey`, written to `x`."""
    if x.is_neg() or (law.shift and x.dtype.itemsize < 4):
        x.copy_(obey(law, x, keep))
        return
    if law.gain != 1.0:
        x.mul_(law.gain)
    if law.shift:
        x.add_(law.shift)
    _select(law, x, keep)


def _select(law: Law, x: Tensor, keep: Tensor) -> None:
    """Overwrite dropped elements of `x`, bit by bit: several times faster than torch selects."""
    kind = _BITS[x.dtype.itemsize]
    bits = x.view(kind)
    ones = keep.view(kind) >> (8 * x.dtype.itemsize - 1)  # the sign, in every bit
    if law.fill:
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        fill = int(torch.tensor(law.fill, dtype=wide).to(x.dtype).view(kind))
        bits.bitwise_xor_(fill).bitwise_and_(ones).bitwise_xor_(fill)
    else:
        bits.bitwise_and_(ones)
