"""Dropout of whole channels."""

import warnings

from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.rate import threshold_from_rate
from dropkit.errors import ShapeError
from dropkit.functional._dropout import apply_dropout

# What torch says of numbers of dimensions, word for word: who filters or catches it is served.
_CHANNELS = "to provide channel-wise dropout on inputs with"
_BATCH = "a channel dimension, and an optional batch dimension"
_REFUSED_1D = (
    f"dropout1d: Expected 2D or 3D input, but received a {{}}D input. Note that dropout1d exists "
    f"{_CHANNELS} 1 spatial dimension, {_BATCH} (i.e. 2D or 3D inputs)."
)
_WARNED = (
    f"dropout{{n}}d: Received a {{got}}-D input to dropout{{n}}d, which is deprecated and will "
    f"result in an error in a future release. To retain the behavior and silence this warning, "
    f"please use dropout instead. Note that dropout{{n}}d exists {_CHANNELS} {{n}} spatial "
    f"dimensions, {_BATCH} (i.e. {{low}}D or {{high}}D inputs)."
)
_WARNED_3D_INPUT = (
    "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
    "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel dim. "
    "This behavior will change in a future release to interpret the input as one without a batch "
    "dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise dropout behavior, please "
    "switch to using dropout1d instead."
)


def dropout1d(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """Zero each channel with chance `p` and scale the others by ``1 / (1 - p)``.

    Args:
        x: ``(N, C, L)`` or ``(C, L)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1]; a share, not a percentage. Rounded to a multiple of 2**-16.
        training: False returns `x` itself.
        inplace: Also write the result to `x`, and return `x`.
        address: Names the mask; see `dropkit.functional.dropout`. Element ``n * C + c`` of the
            mask decides on channel `c` of example `n`.

    Returns:
        Like `x`; the mask is not stored.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `x` is not of a floating type that has a kernel.
        ShapeError: `x` has another number of dimensions.

    Source:
        Tompson et al. 2015, CVPR, arXiv:1411.4280.

    >>> dropout1d(torch.ones(3, 2), address=Address.from_seed(2))
    tensor([[0., 0.],
            [2., 2.],
            [2., 2.]])
    """
    return drop_channels(x, threshold_from_rate(p), training, inplace, n=1, address=address)


def dropout2d(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """`dropout1d` for ``(N, C, H, W)``.

    As in torch, three dimensions are ``(N, C, L)``, with a warning, and other numbers of
    dimensions from two on are served with another.
    """
    return drop_channels(x, threshold_from_rate(p), training, inplace, n=2, address=address)


def dropout3d(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """`dropout1d` for ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    As in torch, other numbers of dimensions are taken as ``(C, *)``, with a warning.
    """
    return drop_channels(x, threshold_from_rate(p), training, inplace, n=3, address=address)


def drop_channels(
    x: Tensor,
    threshold: int,
    training: bool,
    inplace: bool,
    *,
    n: int,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """Dropout of channels with `n` spatial dimensions, called at `site`."""
    _check_dimensions(x.dim(), n)
    if threshold == 0 or not training:
        return x
    if n == 2 or x.dim() == n + 2:
        shape = per_channel(x)
        return apply_dropout(x, threshold, True, inplace, shape=shape, address=address, site=site)
    batch = x.unsqueeze(0)  # so that its one example is one to `masks_at(rows=...)` too
    shape = per_channel(batch)
    out = apply_dropout(batch, threshold, True, inplace, shape=shape, address=address, site=site)
    return x if inplace else out.squeeze(0)


def per_channel(x: Tensor) -> tuple[int, ...]:
    """The shape of noise that has one element for each channel of each example of ``(N, C, *)``.

    Raises:
        ShapeError: There is no dimension for channels.
    """
    if x.dim() < 2:
        raise ShapeError("Feature dropout requires at least 2 dimensions in the input")
    return (*x.shape[:2], *(1,) * (x.dim() - 2))


def _check_dimensions(got: int, n: int) -> None:
    """Refuse or warn as torch does; the warning is the caller's caller's caller's."""
    is_good = got in (n + 1, n + 2)
    if n == 1:
        if not is_good:
            raise ShapeError(_REFUSED_1D.format(got))
        return
    if not is_good:
        warnings.warn(_WARNED.format(n=n, got=got, low=n + 1, high=n + 2), stacklevel=4)
    if n == 2 and got == 3:
        warnings.warn(_WARNED_3D_INPUT, stacklevel=4)
