"""Draw a noise tensor and apply it to a tensor that it is broadcast to; autograd knows nothing.

The noise tensor has the tensor's dimensions, each of its size or of 1. Its element `i`, in
row-major order, decides on all elements that it is broadcast to. It is drawn by the kernels and
dies with the call.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dropkit.core import kernels
from dropkit.core.laws import GAUSSIAN, LAWS, obey, obey_
from dropkit.core.normals import normals
from dropkit.core.place import Place
from dropkit.core.rate import STEPS
from dropkit.errors import RateError


class Noise(NamedTuple):
    """A noise tensor, not yet drawn, and what it does: numbers, no tensor.

    Attributes:
        key: Of the address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        threshold: Drop rate times 65536, in 0..65536.
        shape: For each dimension of the tensor its size, or 1.
        law: A name of `laws.LAWS`, or `laws.GAUSSIAN`.
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
    if noise.law == GAUSSIAN:
        wide = x.float() if x.dtype.itemsize < 4 else x
        return (wide * _factors(noise, wide)).to(x.dtype)
    return obey(LAWS[noise.law](noise.threshold), x, _kept(x, noise))


def apply_(x: Tensor, noise: Noise) -> None:
    """`apply`, written to `x`."""
    kernels.check_dtype(x)
    if noise.law == GAUSSIAN:
        x.copy_(apply(x, noise))
    else:
        obey_(LAWS[noise.law](noise.threshold), x, _kept(x, noise))


def _kept(x: Tensor, noise: Noise) -> Tensor:
    """-1 for what is kept and +0 for what is not: like `x`, of the noise's shape."""
    key, stream, threshold, shape, _, place = noise
    all_kept = torch.full(shape, -1.0, dtype=x.dtype, device=x.device)
    return kernels.dropout(all_kept, key, stream, threshold, False, place)


def _factors(noise: Noise, x: Tensor) -> Tensor:
    """Normal numbers with mean 1 and variance ``p / (1 - p)``, like `x` but of the noise's shape."""
    key, stream, threshold, shape, _, place = noise
    if threshold == STEPS:
        raise RateError("`p` must be below 1 for gaussian dropout: its variance is p / (1 - p).")
    n = math.prod(shape)
    drawn = normals(key, stream, place or Place.whole(n), n, x.device)
    drawn.mul_(math.sqrt(threshold / (STEPS - threshold))).add_(1.0)
    return drawn.to(x).view(shape)
