"""Dropout together with what usually stands before or behind it.

Nothing is stored that can be drawn or computed again: no mask, no dropped tensor.
"""

from typing import Literal

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit.core import fused
from dropkit.core.address import Address
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import OptionError
from dropkit.functional._dropout import dropout


def dropout_add(
    x: Tensor,
    residual: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """``dropout(x, p) + residual``, in one pass over memory.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        residual: Same shape, dtype and device as `x`.
        p: Drop rate in [0, 1]; a share, not a percentage.
        training: False returns ``x + residual``.
        address: Names the mask; see `dropkit.functional.dropout`.

    Returns:
        Like `x`. bfloat16 and float16 are computed in float32 and rounded once.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `x` is not of a floating type that has a kernel.
        OptionError: `residual` has another shape, dtype or device.

    >>> dropout_add(torch.ones(6), torch.ones(6), 0.5, address=Address.from_seed(1))
    tensor([3., 3., 3., 1., 3., 1.])
    """
    threshold = threshold_from_rate(p)
    for what in ("shape", "dtype", "device"):
        ours, theirs = getattr(x, what), getattr(residual, what)
        if ours != theirs:
            shown = tuple(theirs) if what == "shape" else theirs
            wanted = tuple(ours) if what == "shape" else ours
            raise OptionError(f"`residual` must have the {what} of `x`, {wanted}; got {shown}.")
    if not training or threshold == 0:
        return x + residual
    if threshold == STEPS:
        return dropout(x, 1.0) + residual
    return fused.dropout_add(x, residual, threshold, address=address)


def bias_dropout_add(
    x: Tensor,
    bias: Tensor,
    residual: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """``dropout(x + bias, p) + residual``.

    Args:
        x: ``(*, width)`` float32, float64, bfloat16 or float16.
        bias: ``(width,)``, or any shape that broadcasts to that of `x`.
        residual: Same shape, dtype and device as `x`.
        p: Drop rate in [0, 1].
        training: False returns ``x + bias + residual``.
        address: Names the mask.

    Raises:
        RateError, DtypeError, OptionError: As `dropout_add`.
    """
    return dropout_add(x + bias, residual, p, training, address=address)


def gelu_dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    approximate: Literal["none", "tanh"] = "none",
    address: Address | None = None,
) -> Tensor:
    """``dropout(gelu(x), p)``; backward needs `x` and nothing else.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1].
        training: False returns ``gelu(x)``.
        approximate: As ``torch.nn.functional.gelu`` has it.
        address: Names the mask.

    Raises:
        RateError, DtypeError: As `dropkit.functional.dropout`.

    Source:
        Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    return dropout(F.gelu(x, approximate=approximate), p, training, address=address)


def relu_dropout(
    x: Tensor, p: float = 0.5, training: bool = True, *, address: Address | None = None
) -> Tensor:
    """``dropout(relu(x), p)``; backward needs the output and nothing else.

    An element of the output is positive just where `x` was and where it was kept.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1].
        training: False returns ``relu(x)``.
        address: Names the mask.

    Raises:
        RateError, DtypeError: As `dropkit.functional.dropout`.
    """
    threshold = threshold_from_rate(p)
    if not training or threshold == 0:
        return F.relu(x)
    y = dropout(x, p, address=address)
    return F.relu(y)


def dropout_add_layer_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    p: float = 0.5,
    training: bool = True,
    *,
    eps: float = 1e-5,
    address: Address | None = None,
) -> tuple[Tensor, Tensor]:
    """The residual stream ``dropout(x, p) + residual``, and its layer norm.

    Args:
        x: ``(*, width)`` float32, float64, bfloat16 or float16.
        residual: Same shape, dtype and device as `x`.
        weight: ``(width,)``, or None.
        bias: ``(width,)``, or None.
        p: Drop rate in [0, 1].
        training: False drops nothing.
        eps: Added to the variance.
        address: Names the mask.

    Returns:
        ``(normalized, stream)``, each like `x`: a post-norm block goes on with the first, a
        pre-norm block keeps the second for its next residual.

    Raises:
        RateError, DtypeError, OptionError: As `dropout_add`.

    Source:
        Ba et al. 2016, arXiv:1607.06450.
    """
    stream = dropout_add(x, residual, p, training, address=address)
    return F.layer_norm(stream, stream.shape[-1:], weight, bias, eps), stream


def dropout_add_rms_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    p: float = 0.5,
    training: bool = True,
    *,
    eps: float | None = None,
    address: Address | None = None,
) -> tuple[Tensor, Tensor]:
    """The residual stream ``dropout(x, p) + residual``, and its RMS norm.

    Arguments and results are those of `dropout_add_layer_norm`; `eps` of None is the smallest
    number of the dtype that 1 can grow by, as in torch.

    Source:
        Zhang and Sennrich 2019, NeurIPS, arXiv:1910.07467.
    """
    stream = dropout_add(x, residual, p, training, address=address)
    return F.rms_norm(stream, list(stream.shape[-1:]), weight, eps), stream
