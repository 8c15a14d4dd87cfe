"""Random numbers of which models make masks by hand, drawn from the core."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dropkit.core import route, samples
from dropkit.core.words import drawn_words
from dropkit.errors import AddressError


def bernoulli(x: Tensor, keep: Any, *, is_in_place: bool) -> Tensor:
    """Zeros and ones in place of ``torch.bernoulli``'s, by an address as dropout has one.

    An element is 1 where its 32-bit word is below its chance times 2**32, so that a mask of chance
    a lies within that of any chance b > a.

    Args:
        x: The tensor that `bernoulli` was called on: the chances themselves, or, with `keep`, what
            has the shape and type of the mask.
        keep: A chance in [0, 1], a tensor of them, or None.
        is_in_place: Write to `x`, as ``bernoulli_`` does.
    """
    with torch.no_grad():
        chances = torch.as_tensor(x if keep is None else keep, dtype=torch.float64, device=x.device)
        ones = _words(x.shape, x) < chances * 2.0**32
        return (x if is_in_place else torch.empty_like(x)).copy_(ones)


def uniform_(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Write numbers in ``[low, high)`` to `x`, by an address as dropout has one.

    A number is ``low + (high - low) * k / 2**b`` with the upper `b` bits of the element's 32-bit
    word as `k`: as many as the type of `x` holds, at most 32.
    """
    bits = {torch.float64: 32, torch.float32: 24, torch.float16: 11}.get(x.dtype, 8)
    with torch.no_grad():
        share = (_words(x.shape, x) >> (32 - bits)).to(torch.float64) / 2.0**bits
        return x.copy_(share * (high - low) + low)


def _words(shape: Sequence[int], like: Tensor) -> Tensor:
    if (many := samples.opened()) is not None:
        words, dim = many.results(shape, lambda part: _words(part, like))
        return torch.cat(words, dim) if many.n > 1 else words[0]
    try:
        mask, rows = route.general_mask(shape, 1, None, None)
    except AddressError:  # not one for each example: then the whole batch shares it
        mask, rows = route.general_mask((), 1, None, None)
    return drawn_words(mask, shape, like, rows)
