"""A word of 32 bits for each element, as a pure function of an address and the element's index.

Element `i` has the word whose low half is halfword ``2 * i`` and whose high half is halfword
``2 * i + 1`` (indices wrap at 2**64). It is for what needs more than a decision: normal numbers,
logistic ones, an order.

Drawn by torch's own operations, on whatever device the tensor is: many times slower than a mask.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dropkit.core.place import Place
from dropkit.core.reference import LOW, M0, M1, ROUNDS, W0, W1

_AT_ONCE = 1 << 18  # elements; each takes some dozens of bytes on the way
_BLOCKS = (1 << 61) - 1


def word_pieces(
    key: int, stream: int, place: Place, numel: int, device: torch.device
) -> Iterator[Tensor]:
    """The words of `numel` elements in row-major order, piece by piece: ``(n,)`` int64 on `device`.

    Args:
        key: Of the address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        place: Where the elements sit.
        numel: Their number.
        device: That has int64.
    """
    for firsts, n in _pieces(place, numel):
        yield _words(key, stream, firsts.to(device), n).reshape(-1)


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


_library = torch.library.Library("dropkit", "FRAGMENT")
_library.define(
    "words(Tensor mask, SymInt[] shape, Device device, Tensor? rows=None) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def drawn_words(mask: Tensor, shape: Sequence[int], like: Tensor, rows: Tensor | None) -> Tensor:
    """The words of a tensor of this shape: int64 in [0, 2**32), on the device of `like`.

    Args:
        mask: ``(3,)`` of an address, whose threshold counts for nothing; see `ops`.
        shape: Of the words.
        like: Any tensor.
        rows: The row index of each row of the first dimension, or None; see `ops`.
    """
    out: Tensor = torch.ops.dropkit.words(mask, shape, like.device, rows)
    return out


def _drawn(
    mask: Tensor, shape: Sequence[int], device: torch.device, rows: Tensor | None = None
) -> Tensor:
    key, stream, _ = mask.tolist()
    numel = math.prod(shape)
    place = Place.whole(numel)
    if rows is not None and numel:
        place = Place(len(rows), numel // len(rows), row_ids=rows)
    pieces = list(word_pieces(key, stream, place, numel, device))
    nothing = torch.empty(0, dtype=torch.int64, device=device)
    return (torch.cat(pieces) if pieces else nothing).view(tuple(shape))


def _fake(_: Tensor, shape: Sequence[int], device: torch.device, *__: Any) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.int64, device=device)


def _mapped(
    info: Any,
    in_dims: tuple[Any, ...],
    mask: Tensor,
    shape: Sequence[int],
    device: torch.device,
    rows: Tensor | None = None,
) -> tuple[Tensor, int]:
    """The operator over a batch of masks; see ``torch.library.register_vmap``."""
    del info
    masks = mask.movedim(in_dims[0], 0)
    return torch.stack([torch.ops.dropkit.words(m, shape, device, rows) for m in masks]), 0


_library.impl("words", _drawn, "CompositeExplicitAutograd")
torch.library.register_fake("dropkit::words", _fake, lib=_library)
torch.library.register_vmap("dropkit::words", _mapped, lib=_library)
