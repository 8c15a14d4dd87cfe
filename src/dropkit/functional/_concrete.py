"""Dropout whose rate is learned."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dropkit.core import kernels, redrawn, route, samples
from dropkit.core.address import Address
from dropkit.core.words import drawn_words
from dropkit.errors import OptionError
from dropkit.functional._noise_shape import NoiseShape, resolved


def concrete_dropout(
    x: Tensor,
    p_logit: Tensor,
    temperature: float = 0.1,
    training: bool = True,
    *,
    noise_shape: NoiseShape | None = None,
    address: Address | None = None,
) -> Tensor:
    """Multiply each element by a number between 0 and ``1 / (1 - p)``, mostly near one of both.

    The number is ``sigmoid(-(p_logit + noise) / temperature) / (1 - p)`` with ``p =
    sigmoid(p_logit)`` and noise of the logistic distribution. As `temperature` goes to 0 that
    becomes dropout at rate `p`, but it has a gradient for `p_logit`. At any temperature the share
    `p` of the elements is nearer to being dropped than to being kept.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        p_logit: ``()``, the logit of the drop rate; it gets a gradient.
        temperature: Above 0. The higher, the softer, and the more of `x` comes through.
        training: False returns `x` itself.
        noise_shape: Which elements share a number: for each dimension of `x` 1 where its elements
            do, and None, or the size, where each has its own.
        address: Names the noise; see `dropkit.functional.dropout`.

    Returns:
        Like `x`. Elements whose factor rounds to 0 are +0 whatever they were. The noise is not
        stored: backward draws it again.

    Raises:
        DtypeError: `x` is not of a floating type that has a kernel.
        OptionError: `temperature` is not above 0, or `noise_shape` does not fit `x`.

    Source:
        Gal, Hron and Kendall 2017, NeurIPS, arXiv:1705.07832.

    >>> concrete_dropout(torch.ones(5), torch.tensor(0.0), address=Address.from_seed(0))
    tensor([1.9891, 2.0000, 1.9994, 1.9993, 0.0424])
    """
    check_temperature(temperature)
    shape = tuple(x.shape) if noise_shape is None else resolved(noise_shape, x.shape)
    if not training:
        return x
    return apply_concrete(x, p_logit, temperature, shape, address=address)


def check_temperature(temperature: float) -> None:
    """Raise OptionError unless `temperature` is above 0."""
    if not temperature > 0:  # nan fails this too
        raise OptionError(f"`temperature` must be above 0; got {temperature!r}.")


def apply_concrete(
    x: Tensor,
    p_logit: Tensor,
    temperature: float,
    shape: Sequence[int],
    *,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`concrete_dropout` in training with noise of this shape, called at `site`."""
    kernels.check_dtype(x)
    if (many := samples.opened()) is not None:

        def of_part(part: Tensor) -> Tensor:
            own = samples.of_part(shape, x.shape, part.shape)
            return apply_concrete(part, p_logit, temperature, own, address=address, site=site)

        return many.each(x, of_part)
    examples = shape if shape and shape[0] == x.shape[0] else ()
    mask, rows = redrawn.drawn(examples, 1, address, site)  # the words know no threshold
    arguments = (x, p_logit, mask, rows, tuple(shape), temperature)
    if torch.compiler.is_compiling() or not route.is_plain(x) or not torch.is_grad_enabled():
        return _relaxed(*arguments)
    # Nothing in it draws from a generator, so there is no state to keep.
    out: Tensor = checkpoint(_relaxed, *arguments, use_reentrant=False, preserve_rng_state=False)
    return out


def _relaxed(
    x: Tensor,
    p_logit: Tensor,
    mask: Tensor,
    rows: Tensor | None,
    shape: tuple[int, ...],
    temperature: float,
) -> Tensor:
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    logit = p_logit.to(wide)
    words = drawn_words(mask, shape, x, rows)
    # The logit of (word + 1/2) / 2**32, without the rounding of numbers near 1.
    noise = (words.to(wide) + 0.5).log() - ((2**32 - 1 - words).to(wide) + 0.5).log()
    kept = torch.sigmoid(-(logit + noise) / temperature)
    scale = 1 + logit.exp()  # 1 / (1 - p)
    return (x.to(wide) * (kept * scale)).masked_fill(kept == 0, 0.0).to(x.dtype)
