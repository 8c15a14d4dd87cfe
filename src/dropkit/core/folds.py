"""Many addresses folded with one part at once: `Address.fold`, side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dropkit.core.address import NUMBER, TEXT, Address
from dropkit.core.reference import LOW, M0, M1, ROUNDS, W0, W1

_Words = NDArray[np.uint64]
_LOW, _HALF = np.uint64(LOW), np.uint64(32)


def folded(addresses: Sequence[Address], part: int | str) -> list[Address]:
    """``[address.fold(part) for address in addresses]``, several times faster for many.

    Args:
        addresses: Any number.
        part: A whole number in [0, 2**64), or a text.
    """
    keys = np.array([address.key for address in addresses], dtype=np.uint64)
    streams = np.array([address.stream for address in addresses], dtype=np.uint64)
    if isinstance(part, str):
        data = part.encode()
        numbers = [len(data)]
        numbers += [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
        domain = TEXT
    else:
        numbers, domain = [part], NUMBER
    for number in numbers:
        keys, streams = _mixed(keys ^ np.uint64(domain), streams, number)
    return [Address(*pair) for pair in zip(keys.tolist(), streams.tolist(), strict=True)]


def _mixed(keys: _Words, streams: _Words, number: int) -> tuple[_Words, _Words]:
    c0, c1 = np.full_like(keys, number & LOW), np.full_like(keys, number >> 32)
    c2, c3 = streams & _LOW, streams >> _HALF
    k0, k1 = keys & _LOW, keys >> _HALF
    for _ in range(ROUNDS):
        p0, p1 = np.uint64(M0) * c0, np.uint64(M1) * c2
        c0, c1 = p1 >> _HALF ^ c1 ^ k0, p1 & _LOW
        c2, c3 = p0 >> _HALF ^ c3 ^ k1, p0 & _LOW
        k0, k1 = k0 + np.uint64(W0) & _LOW, k1 + np.uint64(W1) & _LOW
    return c0 | c1 << _HALF, c2 | c3 << _HALF
