"""Standard normal numbers as a pure function of an address and an element's index.

With the 32-bit word of an element, see `words`, ``u = (word + 1/2) / 2**32`` and the element is the
number below which a standard normal variable lies with probability `u`.
"""

import torch
from torch import Tensor

from dropkit.core.place import Place
from dropkit.core.words import word_pieces

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
    for words in word_pieces(key, stream, place, numel, where):
        size = words.numel()
        out[at : at + size] = words.double().add_(0.5).div_(1 << 32)
        at += size
    torch.special.ndtri(out, out=out)
    return out
