"""Sub-networks of a network that is unrolled over a text: a position keeps its masks.

A language model reads a text in one forward or token by token with a cache. Here the masks of a
position depend on seed, sample, site, the call at that site within a forward, and the position, not
on how many positions that forward read: so a sub-network is one function of the text. Masks of
different positions are independent, as they are in training.
"""

from collections.abc import Sequence

import torch

from dropkit.core.address import Address
from dropkit.core.place import Place
from dropkit.core.samples import Part, Samples

#: Elements a row may have, and rows a head: more than any text is long.
_STRIDE = 1 << 24


class Unrolled(Samples):
    """The names of several sub-networks that read one text, each in its row of the batch.

    Args:
        seed: Of the masks.
        samples: The numbers of the sub-networks.
    """

    def __init__(self, seed: int, samples: Sequence[int]) -> None:
        self.first, self.length = 0, 0
        root = Address.from_seed(seed).fold("text")
        super().__init__([root.fold(k) for k in samples], None, [])

    def reads(self, first: int, length: int) -> None:
        """The next forward reads so many positions, from this one on."""
        self.first, self.length = first, length
        for part in self.parts:
            part.begin_again()

    def part(self, index: int, root: Address) -> Part:
        """The names of one of them."""
        return _Reader(self, index, root, None)

    def dim(self, shape: Sequence[int]) -> int:
        """Rows of the batch come first, or all positions of the first row, then of the second."""
        return self.divided(shape, 0)


class _Reader(Part):
    _whole: Unrolled

    def place(self, shape: Sequence[int]) -> Place | None:
        """Where a tensor ``(*, positions, width)`` sits in that of all positions."""
        if not shape or 0 in shape:
            return None
        first, length = self._whole.first, self._whole.length
        if len(shape) < 2 or shape[-2] != length:  # a number a text, say, at its last position
            return Place(1, _STRIDE**2, first_row=first)
        rows = torch.arange(first, first + length)
        heads = torch.arange(torch.Size(shape[:-2]).numel()) * _STRIDE
        return Place(
            heads.numel() * length, _STRIDE, row_ids=(heads.unsqueeze(1) + rows).reshape(-1)
        )
