"""Dropout and the sum behind it in one pass; the ways into torch are those of `route`."""

from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core import kernels, route, samples
from dropkit.core.address import Address


def dropout_add(
    x: Tensor,
    residual: Tensor,
    threshold: int,
    *,
    is_scaled: bool = True,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`route.dropout` of `x`, plus `residual` of the same shape and dtype."""
    if torch.compiler.is_compiling():
        tensors = route.compiled_mask(x.shape, threshold, address, site)
    elif samples.opened() is not None:
        dropped = route.dropout(x, threshold, is_scaled=is_scaled, address=address, site=site)
        return dropped + residual
    elif route.is_plain(x) and route.is_plain(residual):
        key, stream, place = route.eager_mask(x.shape, address, site)
        mask = (key, stream, threshold, is_scaled, place)
        if torch.is_grad_enabled() and (x.requires_grad or residual.requires_grad):
            recorded: Tensor = _MaskedAdd.apply(x, residual, mask)
            return recorded
        return kernels.dropout_add(x, residual, *mask)
    elif route.is_transformed(x) or route.is_transformed(residual):
        dropped = route.dropout(x, threshold, is_scaled=is_scaled, address=address, site=site)
        return dropped + residual
    else:
        tensors = route.general_mask(x.shape, threshold, address, site)
    mask_tensor, rows = tensors
    out: Tensor = torch.ops.dropkit.dropout_add(x, residual, mask_tensor, is_scaled, rows)
    return out


class _MaskedAdd(torch.autograd.Function):
    """Keeps the numbers of the mask and no tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, mask: Any) -> Tensor:
        ctx.mask = mask
        return kernels.dropout_add(x, residual, *mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        dropped = route.masked(grad, ctx.mask) if ctx.needs_input_grad[0] else None
        return dropped, grad, None
