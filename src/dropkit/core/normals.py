"""Standard normal numbers as a pure function of an address and an element's index.

Element `i` reads the 32-bit word whose low half is halfword `2 * i` and whose high half is halfword
`2 * i + 1` (indices wrap at 2**64), ``u = (word + 1/2) / 2**32``, and is the number below which a
standard normal variable lies with probability `u`.

Drawn by torch's own operations, on whatever device the tensor is: many times slower than a mask.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from dropkit.core.place import Place
from dropkit.core.reference import LOW, M0, M1, ROUNDS, W0, W1

_AT_ONCE = 1 << 18  # elements; each takes some dozens of bytes on the way
_BLOCKS = (1 << 61) - 1
_DEVICES = ("cpu", "cuda")  # the others have no float64, or may have none


def normals(key: int, stream: int, place: Place, numel: int, device: torch.device) -> Tensor:
    """A number for each of `numel` elements, in row-major order: ``(numel,)`` float64.

    Args:
        key: Of the address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        place: Where the elements sit.
        numel: Their number.
        device: Of the tensor that they are for; where they are is another matter.
    """
    where = device if device.type in _DEVICES else torch.device("cpu")
    out = torch.empty(numel, dtype=torch.float64, device=where)
    at = 0
    for firsts, n in _pieces(place, numel):
        words = _words(key, stream, firsts.to(where), n)
        size = words.numel()
        out[at : at + size] = words.reshape(-1).double().add_(0.5).div_(1 << 32)
        at += size
    torch.special.ndtri(out, out=out)
    return out


def _pieces(place: Place, numel: int) -> Iterator[tuple[Tensor, int]]:
    """The first indices ``(r,)`` of `r` runs of `n` elements each, and `n`; in order."""
    if numel == 0:
        return
    inner = numel // place.rows
    firsts = place.row_tensor() * place.row_stride + place.column_offset
    if inner >= _AT_ONCE:
        for first in firsts:
            for at in range(0, inner, _AT_ONCE):
                yield (first + at).reshape(1), min(_AT_ONCE, inner - at)
    else:
        for some in firsts.split(_AT_ONCE // inner):
            yield some, inner


def _words(key: int, stream: int, firsts: Tensor, n: int) -> Tensor:
    """The words of the elements ``firsts[r] .. firsts[r] + n``: ``(r, n)`` int64."""
    first = firsts.unsqueeze(1) * 2  # halfwords; int64 wraps as it should
    device = first.device
    blocks = (first >> 3) + torch.arange((n + 6) // 4, device=device)
    words = torch.stack(_philox(blocks & _BLOCKS, key, stream), -1).flatten(1)
    lanes = ((first & 7) >> 1) + torch.arange(n, device=device)
    return words.gather(1, lanes)


def _philox(block: Tensor, key: int, stream: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words a block, each like `block`: int64 that hold 32 bits; see `reference.philox`."""
    c0, c1 = block & LOW, block >> 32
    c2, c3 = torch.full_like(block, stream & LOW), torch.full_like(block, stream >> 32 & LOW)
    k0, k1 = key & LOW, key >> 32 & LOW
    for _ in range(ROUNDS):
        # products are right modulo 2**64, and shifts bring in copies of the sign: masked away
        p0, p1 = c0 * M0, c2 * M1
        c0, c1 = (p1 >> 32 & LOW) ^ c1 ^ k0, p1 & LOW
        c2, c3 = (p0 >> 32 & LOW) ^ c3 ^ k1, p0 & LOW
        k0, k1 = k0 + W0 & LOW, k1 + W1 & LOW
    return c0, c1, c2, c3
