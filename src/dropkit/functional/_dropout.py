"""Dropout as a function."""

from typing import Literal, get_args

from torch import Tensor, nn

from dropkit.core import kernels, noise_route, route
from dropkit.core.address import Address
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import OptionError
from dropkit.functional._noise_shape import NoiseShape, resolved

Mode = Literal["inverted", "vanilla"]
_MODES = get_args(Mode)

_ANY = Address(0, 0)  # where everything is dropped, no bit is read


def check_mode(mode: str) -> None:
    """Raise OptionError unless `mode` is one that dropout has."""
    if mode not in _MODES:
        known = " or ".join(map(repr, _MODES))
        raise OptionError(f"`mode` must be {known}; got {mode!r}.")


def dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    address: Address | None = None,
    mode: Mode = "inverted",
    noise_shape: NoiseShape | None = None,
) -> Tensor:
    """Zero each element with chance `p` and scale the others by ``1 / (1 - p)``.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; any device, any strides.
        p: Drop rate in [0, 1]; a share, not a percentage. Rounded to a multiple of 2**-16.
        training: False returns `x` itself.
        inplace: Also write the result to `x`, and return `x`.
        address: Names the mask; equal (address, shape) give equal masks on every machine.
            None draws one: from the open `dropkit.masks_at` block, else from torch's default
            CPU generator, so that ``torch.manual_seed`` governs.
        mode: ``"inverted"`` as above. ``"vanilla"`` is the original form: the kept elements are
            left as they are in training, and all are multiplied by ``1 - p`` otherwise.
        noise_shape: Which elements are dropped together: for each dimension of `x` 1 where its
            elements share their fate, and None, or the size, where each has its own. Element `i`
            of a row-major tensor of this shape decides.

    Returns:
        Same shape, dtype, device and memory format as `x`. Where nothing is to be done
        (`p` is 0, or not `training` unless vanilla) it is the very same tensor object. Dropped
        elements are +0 whatever they were, and so are their gradients. The mask is not stored:
        backward draws it again.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `x` is not of a floating type that has a kernel.
        OptionError: `mode` is neither, or `noise_shape` does not fit `x`.

    Source:
        Srivastava et al. 2014, JMLR 15. Bits: Philox4x32-7, Salmon et al. 2011, SC'11.

    >>> dropout(torch.ones(6), 0.5, address=Address.from_seed(1))
    tensor([2., 2., 2., 0., 2., 0.])
    >>> dropout(torch.ones(2, 3), noise_shape=(1, None), address=Address.from_seed(2))
    tensor([[0., 2., 2.],
            [0., 2., 2.]])
    """
    threshold = threshold_from_rate(p)
    check_mode(mode)
    shape = None if noise_shape is None else resolved(noise_shape, x.shape)
    return apply_dropout(x, threshold, training, inplace, law=mode, shape=shape, address=address)


def apply_dropout(
    x: Tensor,
    threshold: int,
    training: bool,
    inplace: bool,
    *,
    law: str = "inverted",
    shape: tuple[int, ...] | None = None,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """Dropout of any kind at a rate of ``threshold / 65536``, called at `site`.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        threshold: In 0..65536; in a compiled graph also `FROM_SITE`.
        training: False returns `x` itself, or scaled if vanilla.
        inplace: Also write the result to `x`, and return `x`.
        law: A mode, or another name that `core.laws` has.
        shape: Of the noise, as `resolved` gives it; None for the shape of `x`.
        address: Names the mask; None draws one.
        site: The module that asks, for named masks.
    """
    if threshold == 0 or (not training and law != "vanilla"):
        return x
    kernels.check_dtype(x)
    if threshold == STEPS:
        out = route.dropout(x, threshold, address=_ANY)
    elif not training:
        out = route.shrunk(x, threshold, site)
    elif shape is None:
        is_scaled = law == "inverted"
        draw = route.dropout_ if inplace else route.dropout
        return draw(x, threshold, is_scaled=is_scaled, address=address, site=site)
    else:
        draw_noise = noise_route.dropout_ if inplace else noise_route.dropout
        return draw_noise(x, threshold, shape, law=law, address=address, site=site)
    return x.copy_(out) if inplace else out


def apply_to_parameter(x: Tensor, threshold: int, *, site: nn.Module) -> Tensor:
    """Dropout in training of what holds no examples: `rows` of `masks_at` mean nothing to it."""
    if threshold in (0, STEPS):
        return apply_dropout(x, threshold, True, False)
    kernels.check_dtype(x)
    return route.dropout(x, threshold, site=site, is_batch=False)
