"""Dropout in front of a linear map, as adapters have it."""

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit.core import kernels, linear
from dropkit.core.address import Address
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import ShapeError
from dropkit.functional._dropout import dropout


def dropout_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    p: float = 0.5,
    training: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """``linear(dropout(x, p), weight, bias)``, of which backward needs `x`, `weight` and no more.

    Where dropout is a step of its own, its result is kept for the gradient of the weight: a copy of
    `x` for each map that reads it. Here `x` itself is kept, once however many read it, and dropped
    again in backward. Neither way is the whole of it dropped at once, but a piece of 2**18 elements.

    Args:
        x: ``(*, in)`` float32, float64, bfloat16 or float16. Leave it as it is until backward.
        weight: ``(out, in)``.
        bias: ``(out,)``, or None.
        p: Drop rate in [0, 1]; a share, not a percentage.
        training: False drops nothing.
        address: Names the mask; see `dropkit.functional.dropout`.

    Returns:
        ``(*, out)``. The mask is that of ``dropout(x, p)``; products of more than one piece may
        be summed in another order.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `x` is not of a floating type that has a kernel.
        ShapeError: `weight` does not fit `x`.

    Source:
        What it is made for: Hu et al. 2022, ICLR, arXiv:2106.09685, ``B A dropout(x)``.

    >>> x, weight = torch.ones(2, 3), torch.eye(3)
    >>> dropout_linear(x, weight, p=0.5, address=Address.from_seed(1))
    tensor([[2., 2., 2.],
            [0., 2., 0.]])
    """
    threshold = threshold_from_rate(p)
    if weight.dim() != 2 or not x.dim() or weight.shape[1] != x.shape[-1]:
        raise ShapeError(
            f"`weight` must be (out, in) for an `x` of (*, in); got {tuple(weight.shape)} for "
            f"{tuple(x.shape)}."
        )
    if not training or threshold == 0:
        return F.linear(x, weight, bias)
    kernels.check_dtype(x)
    if threshold == STEPS:
        return F.linear(dropout(x, 1.0), weight, bias)
    return linear.dropout_linear(x, weight, bias, threshold, address=address)
