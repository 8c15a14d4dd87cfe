"""The slow twin: masks in plain Python and numpy, short enough to read.

It is what every kernel must equal bit for bit, and what serves where the C core is absent.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropkit.core.place import Place

ROUNDS = 7
M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF

Words = tuple[int, int, int, int]
_BLOCKS_AT_ONCE = 1 << 18


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """One block of Philox4x32-7: four 32-bit words from a counter and a key.

    Source:
        Salmon et al. 2011, SC'11, "Parallel random numbers: as easy as 1, 2, 3".
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = M0 * c0, M1 * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 & LOW, p0 >> 32 ^ c3 ^ k1, p0 & LOW
        k0, k1 = k0 + W0 & LOW, k1 + W1 & LOW
    return c0, c1, c2, c3


def halfwords(key: int, stream: int, first: int, n: int) -> NDArray[np.uint16]:
    """The 16-bit words of elements ``first .. first + n`` (indices wrap at 2**64)."""
    if n == 0:
        return np.empty(0, np.uint16)
    start, skip = first // 8, first % 8
    block = np.arange((skip + n + 7) // 8, dtype=np.uint64) + np.uint64(start)
    block &= np.uint64((1 << 61) - 1)
    low = np.uint64(LOW)
    c0, c1 = block & low, block >> np.uint64(32)
    c2, c3 = np.full_like(block, stream & LOW), np.full_like(block, stream >> 32)
    k0, k1 = key & LOW, key >> 32
    for _ in range(ROUNDS):
        p0, p1 = np.uint64(M0) * c0, np.uint64(M1) * c2
        c0, c1 = p1 >> np.uint64(32) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = p0 >> np.uint64(32) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = k0 + W0 & LOW, k1 + W1 & LOW
    words = np.stack([c0, c1, c2, c3], axis=1).astype("<u4")
    return words.reshape(-1).view("<u2")[skip : skip + n]


def _runs(place: Place, numel: int) -> Iterator[tuple[int, int]]:
    """(first index, length) of each run of consecutive elements, in memory order."""
    inner = numel // place.rows if place.rows else 0
    for index in place.row_indices():
        first = index * place.row_stride + place.column_offset
        for at in range(0, inner, 8 * _BLOCKS_AT_ONCE):
            n = min(inner - at, 8 * _BLOCKS_AT_ONCE)
            yield (first + at) % (1 << 64), n


def keep_mask(key: int, stream: int, threshold: int, place: Place, numel: int) -> Tensor:
    """Which of `numel` elements are kept: ``(numel,)`` bool on the CPU, in row-major order."""
    runs = [halfwords(key, stream, first, n) >= threshold for first, n in _runs(place, numel)]
    return torch.from_numpy(np.concatenate([np.empty(0, np.bool_), *runs]))


def dropout(x: Tensor, key: int, stream: int, threshold: int, scale: float, place: Place) -> Tensor:
    """``where(keep, x * scale, 0)``, rounded once: halves are scaled in float32."""
    return _wide_dropout(x, key, stream, threshold, scale, place).to(x.dtype)


def dropout_add(
    x: Tensor,
    residual: Tensor,
    key: int,
    stream: int,
    threshold: int,
    scale: float,
    place: Place,
) -> Tensor:
    """``where(keep, x * scale, 0) + residual``; halves in float32, rounded once at the end."""
    wide = _wide_dropout(x, key, stream, threshold, scale, place)
    return (wide + residual.to(wide.dtype)).to(x.dtype)


def _wide_dropout(
    x: Tensor, key: int, stream: int, threshold: int, scale: float, place: Place
) -> Tensor:
    keep = keep_mask(key, stream, threshold, place, x.numel()).view(x.shape).to(x.device)
    wide = x if x.dtype == torch.float64 else x.float()
    factor = torch.tensor(scale, dtype=wide.dtype, device=x.device)
    return torch.where(keep, wide * factor, torch.zeros_like(factor))
