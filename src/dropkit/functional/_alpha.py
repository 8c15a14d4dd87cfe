"""Dropout that keeps mean 0 and variance 1, for self-normalizing networks."""

from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.rate import threshold_from_rate
from dropkit.functional._channels import per_channel
from dropkit.functional._dropout import apply_dropout


def alpha_dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """Let each element saturate with chance `p`, then restore mean 0 and variance 1.

    With ``s = 1.7580993408473766``, minus the value that SELU tends to, and ``a = ((1 - p) * (1 +
    p * s**2)) ** -0.5``, kept elements become ``a * x + a * p * s`` and dropped ones ``-a * (1 -
    p) * s``. Elements of mean 0 and variance 1 keep both.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; any device, any strides.
        p: Drop rate in [0, 1]; a share, not a percentage. Rounded to a multiple of 2**-16. All
            become 0 at 1, as in torch.
        training: False, the default as in torch, returns `x` itself.
        inplace: Also write the result to `x`, and return `x`.
        address: Names the mask; see `dropkit.functional.dropout`.

    Returns:
        Like `x`. Dropped elements saturate whatever they were, and have a gradient of +0. The mask
        is not stored: backward draws it again.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `x` is not of a floating type that has a kernel.

    Source:
        Klambauer et al. 2017, NeurIPS, arXiv:1706.02515.

    >>> alpha_dropout(torch.zeros(4), 0.5, True, address=Address.from_seed(2))
    tensor([-0.7792,  0.7792,  0.7792,  0.7792])
    """
    return drop_alpha(x, threshold_from_rate(p), training, inplace, address=address)


def feature_alpha_dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """`alpha_dropout` of whole channels.

    Args:
        x: ``(N, C, *)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1].
        training: False, the default as in torch, returns `x` itself.
        inplace: Also write the result to `x`, and return `x`.
        address: Names the mask; its element ``n * C + c`` decides on channel `c` of example `n`.

    Raises:
        RateError, DtypeError: As `alpha_dropout`.
        ShapeError: `x` has fewer than two dimensions.
    """
    threshold = threshold_from_rate(p)
    return drop_alpha(x, threshold, training, inplace, is_per_channel=True, address=address)


def drop_alpha(
    x: Tensor,
    threshold: int,
    training: bool,
    inplace: bool,
    *,
    is_per_channel: bool = False,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """Alpha dropout of elements or channels, called at `site`."""
    if threshold == 0 or not training:
        return x
    shape = per_channel(x) if is_per_channel else tuple(x.shape)
    return apply_dropout(
        x, threshold, True, inplace, law="alpha", shape=shape, address=address, site=site
    )
