"""Noise that multiplies instead of dropping."""

from torch import Tensor

from dropkit.core.address import Address
from dropkit.core.laws import GAUSSIAN
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import RateError
from dropkit.functional._dropout import apply_dropout


def gaussian_dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """Multiply each element by a normal number of mean 1 and variance ``p / (1 - p)``.

    That is the mean and the variance of what dropout at rate `p` multiplies by. Nothing is
    dropped, and no two elements share a number.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; any device, any strides.
        p: Drop rate in [0, 1), of the dropout with the same variance. Rounded to a multiple of
            2**-16.
        training: False returns `x` itself.
        inplace: Also write the result to `x`, and return `x`.
        address: Names the numbers; equal (address, shape) give equal ones, up to the rounding of
            a device's own logarithm.

    Returns:
        Like `x`. The numbers are not stored: backward draws them again.

    Raises:
        RateError: `p` is outside [0, 1) or nan.
        DtypeError: `x` is not of a floating type that has a kernel.

    Source:
        Srivastava et al. 2014, JMLR 15, section 10.

    >>> gaussian_dropout(torch.ones(4), 0.5, address=Address.from_seed(2))
    tensor([1.4867, 2.7770, 1.2687, 1.0962])
    """
    threshold = gaussian_threshold(p)
    shape = tuple(x.shape)
    return apply_dropout(
        x, threshold, training, inplace, law=GAUSSIAN, shape=shape, address=address
    )


def gaussian_threshold(p: float) -> int:
    """`threshold_from_rate` for a rate below 1.

    Raises:
        RateError: `p` is outside [0, 1) or nan.
    """
    threshold = threshold_from_rate(p)
    if threshold == STEPS:
        raise RateError(
            f"`p` must be a drop rate below 1 for gaussian dropout; got {p!r}. "
            "Its variance is p / (1 - p)."
        )
    return threshold
