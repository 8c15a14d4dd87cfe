"""A linear map of what dropout leaves, which keeps its input and never the whole of what is left.

Forward and backward go over the rows in pieces: each is dropped, multiplied and forgotten. So what
autograd keeps is `x` itself, which others that read it keep too, and no mask.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.core import kernels, route, samples
from dropkit.core.address import Address
from dropkit.core.place import Place

#: Elements of `x` that are dropped at once: enough for a matrix product to be fast.
PIECE = 1 << 18

#: Key, stream, threshold, `is_scaled` and place.
Mask = tuple[int, int, int, bool, Place | None]


def dropout_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    threshold: int,
    *,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """``linear(dropout(x), weight, bias)`` at a rate of ``threshold / 65536``, in 1..65536."""
    # A compiler decides for itself what to compute again, and transforms see plain operations.
    if not can_record(x):
        return F.linear(route.dropout(x, threshold, address=address, site=site), weight, bias)
    key, stream, place = route.eager_mask(x.shape, address, site)
    return recorded(x, weight, bias, (key, stream, threshold, True, place))


def can_record(x: Tensor) -> bool:
    """Whether a linear map of `x` is recorded by autograd alone, so that it may be ours."""
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and route.is_plain(x)
        and x.dim() >= 2
        and samples.opened() is None
    )


def recorded(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask) -> Tensor:
    """``linear(dropout(x), weight, bias)`` under a known mask, for an `x` that `can_record`."""
    is_plain = route.is_plain(weight) and (bias is None or route.is_plain(bias))
    if not is_plain or x.numel() == 0:
        return F.linear(route.masked(x, mask), weight, bias)
    out: Tensor = _DropoutLinear.apply(x, weight, bias, mask)
    return out


class _DropoutLinear(torch.autograd.Function):
    """Keeps `x` for the gradient of the weight, and the weight for that of `x`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask) -> Tensor:
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        ctx.save_for_backward(x if needs_weight else None, weight if needs_x else None)
        ctx.mask, ctx.width = mask, x.shape[-1]
        rows = x.reshape(-1, ctx.width)
        parts = [F.linear(_dropped(rows[at], own), weight, bias) for at, own in _pieces(rows, mask)]
        flat = parts[0] if len(parts) == 1 else torch.cat(parts)
        return flat.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_bias = None
        if ctx.needs_input_grad[2]:
            of_bias = _as_rows(grad).sum(0)
        is_batched = torch._C._functorch.is_legacy_batchedtensor(grad)  # noqa: SLF001 - no other
        if torch.is_grad_enabled() or is_batched or not route.is_plain(grad):
            return (*_whole(grad, x, weight, ctx.mask), of_bias, None)
        of_x, of_weight = _in_pieces(grad, x, weight, ctx.mask, ctx.width)
        return of_x, of_weight, of_bias, None


def _whole(
    grad: Tensor, x: Tensor | None, weight: Tensor | None, mask: Mask
) -> tuple[Tensor | None, Tensor | None]:
    """Both gradients in operations that can themselves be differentiated."""
    of_x = of_weight = None
    if weight is not None:
        of_x = route.masked(grad @ weight.to(grad.dtype), mask)
    if x is not None:
        left = route.masked(x, mask).to(grad.dtype)
        of_weight = _as_rows(grad).transpose(0, 1) @ _as_rows(left)
    return of_x, of_weight


def _in_pieces(
    grad: Tensor, x: Tensor | None, weight: Tensor | None, mask: Mask, width: int
) -> tuple[Tensor | None, Tensor | None]:
    """Both gradients, of which that of `x` is the one tensor of its size."""
    flat = _as_rows(grad)
    rows = None if x is None else x.reshape(-1, width)
    of_x = None if weight is None else grad.new_empty(len(flat), width)
    of_weight = None
    like = flat.new_empty(len(flat), 0) if rows is None else rows
    for at, own in _pieces(like, mask, width):
        if of_x is not None and weight is not None:
            torch.mm(flat[at], weight.to(grad.dtype), out=of_x[at])
            kernels.dropout_(of_x[at], *own)
        if rows is not None:
            part = flat[at].t() @ _dropped(rows[at], own).to(grad.dtype)
            part = part.float() if part.dtype.itemsize < 4 else part  # summed up without loss
            of_weight = part if of_weight is None else of_weight.add_(part)
    if of_weight is not None:
        of_weight = of_weight.to(grad.dtype)
    return None if of_x is None else of_x.view(*grad.shape[:-1], width), of_weight


def _as_rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _dropped(rows: Tensor, mask: Mask) -> Tensor:
    return kernels.dropout(rows, *mask)


def _pieces(rows: Tensor, mask: Mask, width: int | None = None) -> Iterator[tuple[slice, Mask]]:
    """Which rows are dropped at once, and the part of the mask that is theirs."""
    key, stream, threshold, is_scaled, place = mask
    n, width = len(rows), width or rows.shape[1]
    if n * width <= PIECE:
        yield slice(0, n), mask
        return
    whole = place or Place(n, width)
    of_each = n // whole.rows  # rows here of a row of the mask: the tokens of an example
    step = max(1, PIECE // (width * of_each))
    for first in range(0, whole.rows, step):
        last = min(first + step, whole.rows)
        ids = None if whole.row_ids is None else whole.row_ids[first:last]
        begins = (whole.first_row + first) % (1 << 64)
        part = whole._replace(rows=last - first, first_row=begins, row_ids=ids)
        at = slice(first * of_each, last * of_each)
        yield at, (key, stream, threshold, is_scaled, part)
