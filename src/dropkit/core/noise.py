"""Draw a noise tensor and apply it to a tensor that it is broadcast to; autograd knows nothing.

The noise tensor has the tensor's dimensions, each of its size or of 1. Its element `i`, in
row-major order, decides on all elements that it is broadcast to. It is drawn by the kernels and
dies with the call.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dropkit.core import kernels
from dropkit.core.laws import LAWS, obey, obey_
from dropkit.core.place import Place


class Noise(NamedTuple):
    """A noise tensor, not yet drawn, and what it does: numbers, no tensor.

    Attributes:
        key: Of the address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        threshold: Drop rate times 65536, in 0..65536.
        shape: For each dimension of the tensor its size, or 1.
        law: A name of `laws.LAWS`.
        place: Of the noise tensor's elements; None for the plain row-major index.
    """

    key: int
    stream: int
    threshold: int
    shape: tuple[int, ...]
    law: str
    place: Place | None = None


def apply(x: Tensor, noise: Noise) -> Tensor:
    """What the law makes of `x`, as a new tensor laid out like an elementwise operation's result.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; any device, any strides.
        noise: Its shape broadcasts to that of `x`.

    Raises:
        DtypeError: `x` is of another type.
    """
    kernels.check_dtype(x)
    return obey(LAWS[noise.law](noise.threshold), x, _dropped(x, noise))


def apply_(x: Tensor, noise: Noise) -> None:
    """`apply`, written to `x`."""
    kernels.check_dtype(x)
    obey_(LAWS[noise.law](noise.threshold), x, _dropped(x, noise))


def _dropped(x: Tensor, noise: Noise) -> Tensor:
    key, stream, threshold, shape, _, place = noise
    ones = torch.ones(shape, dtype=torch.float32, device=x.device)
    return kernels.dropout(ones, key, stream, threshold, False, place) == 0
