"""Linear maps that a mask decides on in more ways than element by element.

A block of a feature map, the rows of a table: the map is written in plain operations on the mask's
numbers, and this module sees to it that nothing drawn is kept for backward.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core import route
from dropkit.core.address import Address

#: (x, mask, rows) -> like x: multiplies each element by a number that mask and rows decide, so
#: that it is linear in `x` and its own transpose.
Map = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def drawn(
    shape: Sequence[int], threshold: int, address: Address | None, site: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    """A mask's numbers and the rows it is cut from, as the operators of `ops` take them.

    Args:
        shape: Of the noise; ``()`` where its first dimension does not hold examples.
        threshold: Drop rate times 65536, in 1..65536.
        address: Names the mask; None draws one.
        site: The module that asks, for named masks.
    """
    how = route.compiled_mask if torch.compiler.is_compiling() else route.general_mask
    return how(shape, threshold, address, site)


def is_dropped(shape: Sequence[int], like: Tensor, mask: Tensor, rows: Tensor | None) -> Tensor:
    """Which elements a mask of this shape drops: bool, on the device of `like`."""
    ones = torch.ones(shape, dtype=torch.float32, device=like.device)
    dropped: Tensor = torch.ops.dropkit.dropout(ones, mask, False, rows) == 0
    return dropped


def redrawn(function: Map, x: Tensor, mask: Tensor, rows: Tensor | None) -> Tensor:
    """``function(x, mask, rows)``; backward calls it again on the gradient, and keeps no tensor."""
    # A compiler decides for itself what to compute again, and transforms see plain operations.
    if (
        not torch.compiler.is_compiling()
        and route.is_plain(x)
        and x.requires_grad
        and torch.is_grad_enabled()
    ):
        out: Tensor = _Redrawn.apply(x, mask, rows, function)
        return out
    return function(x, mask, rows)


class _Redrawn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, rows: Tensor | None, function: Map) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(mask, rows)
        return function(x, mask, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        mask, rows = ctx.saved_tensors
        return redrawn(ctx.function, grad, mask, rows), None, None, None
