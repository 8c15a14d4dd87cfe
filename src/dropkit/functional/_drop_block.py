"""Dropout of blocks of a feature map."""

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.core import kernels, redrawn, samples
from dropkit.core.address import Address
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import OptionError, ShapeError
from dropkit.functional._counts import check_count
from dropkit.functional._dropout import apply_dropout


def drop_block2d(
    input: Tensor,  # noqa: A002 - torchvision's own name
    p: float,
    block_size: int,
    inplace: bool = False,
    eps: float = 1e-6,
    training: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """Zero squares of `input`, in each example and channel, and scale the rest.

    Each square of `block_size` elements a side that fits into the map is dropped with chance

    ``gamma = p * H * W / (block_size ** 2 * (H - block_size + 1) * (W - block_size + 1))``

    rounded to a multiple of 2**-16, so that about the share `p` of the elements is; squares that
    lie over each other make it less. What is kept is multiplied by one number for the whole
    batch, ``numel / (eps + kept)``: with it the mean of the mask is 1.

    Args:
        input: ``(N, C, H, W)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1]; a share, not a percentage. At 1 everything is dropped, unlike in
            torchvision.
        block_size: Elements a side of a square, from 1 on and at most ``min(H, W)``; even sizes
            may be taken too.
        inplace: Also write the result to `input`, and return `input`.
        eps: Added to the number of kept elements.
        training: False returns `input` itself.
        address: Names the mask; see `dropkit.functional.dropout`.

    Returns:
        Like `input`. Dropped elements are +0 whatever they were, and so are their gradients. No
        mask is stored: backward draws it again.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `input` is not of a floating type that has a kernel.
        ShapeError: `input` has not four dimensions.
        OptionError: `block_size` is no whole number from 1 on, or larger than a side.

    Source:
        Ghiasi et al. 2018, NeurIPS, arXiv:1810.12890. Arguments and scaling are those of
        ``torchvision.ops.drop_block2d``.

    >>> drop_block2d(torch.ones(1, 1, 3, 4), 0.5, 2, address=Address.from_seed(2))
    tensor([[[[0.0000, 0.0000, 1.5000, 1.5000],
              [0.0000, 0.0000, 1.5000, 1.5000],
              [1.5000, 1.5000, 1.5000, 1.5000]]]])
    """
    blocks = Blocks(block_size, n_sides=2, eps=eps)
    threshold = threshold_from_rate(p)
    return apply_drop_block(input, threshold, blocks, training, inplace, address=address)


def drop_block3d(
    input: Tensor,  # noqa: A002 - torchvision's own name
    p: float,
    block_size: int,
    inplace: bool = False,
    eps: float = 1e-6,
    training: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """`drop_block2d` with cubes: `input` is ``(N, C, D, H, W)``.

    Arguments, results and errors are those of `drop_block2d`, with one more side in `gamma`.
    """
    blocks = Blocks(block_size, n_sides=3, eps=eps)
    threshold = threshold_from_rate(p)
    return apply_drop_block(input, threshold, blocks, training, inplace, address=address)


class Blocks(NamedTuple):
    """What is dropped together.

    Attributes:
        size: Elements a side.
        n_sides: 2 for squares of ``(N, C, H, W)``, 3 for cubes of ``(N, C, D, H, W)``.
        eps: Added to the number of kept elements.
    """

    size: int
    n_sides: int
    eps: float


def apply_drop_block(
    x: Tensor,
    threshold: int,
    blocks: Blocks,
    training: bool,
    inplace: bool,
    *,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`drop_block2d` or `drop_block3d`, called at `site`."""
    check_count(blocks.size, "block_size")
    if threshold == 0 or not training:
        return x
    kernels.check_dtype(x)
    sides = _sides(x, blocks)
    if x.numel() == 0:
        return x
    if threshold == STEPS:
        return apply_dropout(x, threshold, True, inplace)
    if (many := samples.opened()) is not None:
        run = functools.partial(apply_drop_block, address=address, site=site)
        out = many.each(x, lambda part: run(part, threshold, blocks, True, False))
        return x.copy_(out) if inplace else out
    shape = (*x.shape[:2], *(side - blocks.size + 1 for side in sides))
    mask, rows = redrawn.drawn(shape, threshold, address, site)
    out = redrawn.redrawn(functools.partial(_without_blocks, blocks, shape), x, mask, rows)
    return x.copy_(out) if inplace else out


def _sides(x: Tensor, blocks: Blocks) -> tuple[int, ...]:
    names = ", ".join("DHW"[-blocks.n_sides :])
    if x.dim() != 2 + blocks.n_sides:
        raise ShapeError(f"`input` must be (N, C, {names}); got shape {tuple(x.shape)}.")
    sides = tuple(x.shape[2:])
    if blocks.size > min(sides):
        raise OptionError(
            f"`block_size` must be at most the least of {names} of `input`, {min(sides)}; "
            f"got {blocks.size}."
        )
    return sides


def _at_rate_of_blocks(mask: Tensor, per_element: float) -> Tensor:
    """The mask with gamma in place of the rate, which a compiled graph knows when it runs."""
    rate = mask[2:]
    gamma = (rate.double() * per_element).round().long().clamp(1, STEPS - 1)
    return torch.cat([mask[:2], torch.where(rate == STEPS, rate, gamma)])


def _without_blocks(
    blocks: Blocks, shape: tuple[int, ...], x: Tensor, mask: Tensor, rows: Tensor | None
) -> Tensor:
    """`x` without the blocks that begin where the mask drops, scaled by the share that is kept."""
    per_element = math.prod(x.shape[2:]) / (blocks.size**blocks.n_sides * math.prod(shape[2:]))
    mask = _at_rate_of_blocks(mask, per_element)
    dropped = _reached(redrawn.is_dropped(shape, x, mask, rows), blocks)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    kept = dropped.numel() - dropped.sum(dtype=wide)
    return (x * (dropped.numel() / (kept + blocks.eps))).masked_fill(dropped, 0.0)


def _reached(begins: Tensor, blocks: Blocks) -> Tensor:
    """Which elements of the map lie in a block, from where blocks begin; both bool.

    Side by side, and by doubling: an element that speaks for `width` others on a side takes over
    from one that lies so far away, until they speak for the length of a block.
    """
    # No block begins outside of the map; with that around it each element sees all that reach it.
    margins = [blocks.size - 1] * (2 * blocks.n_sides)
    reached = F.pad(begins.to(torch.uint8), margins)
    for side in range(-blocks.n_sides, 0):
        width = 1
        while width < blocks.size:
            step = min(width, blocks.size - width)
            n = reached.shape[side] - step
            reached = reached.narrow(side, 0, n) | reached.narrow(side, step, n)
            width += step
    return reached.bool()
