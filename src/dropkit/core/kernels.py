"""Apply a mask to a tensor on its own device; autograd knows nothing of it."""

import warnings

import torch
from torch import Tensor

from dropkit.core import reference
from dropkit.core.binding import CODES, LOADED
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold
from dropkit.errors import CoreWarning, DtypeError

_U64 = (1 << 64) - 1


def check_dtype(x: Tensor) -> None:
    """Raise DtypeError unless `x` is of a floating type that has a kernel."""
    if x.dtype not in CODES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in CODES)
        got = str(x.dtype).removeprefix("torch.")
        raise DtypeError(
            f"`x` must be a tensor of {known}; got {got}. Convert it first, e.g. x.float()."
        )


def dropout(
    x: Tensor,
    key: int,
    stream: int,
    threshold: int,
    *,
    is_scaled: bool = True,
    place: Place | None = None,
) -> Tensor:
    """``where(keep, x * scale, 0)``.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; any device, any strides.
        key: Of the address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        threshold: Drop rate times 65536, in 0..65536.
        is_scaled: False leaves the kept elements as they are.
        place: Where the elements sit; None for the plain row-major index.

    Returns:
        A new tensor with the memory format that an elementwise operation on `x` would give.

    Raises:
        DtypeError: `x` is of another type.
    """
    check_dtype(x)
    source = x.contiguous()  # before any data_ptr(): gradients often come expanded
    if source.is_neg():  # ... or negated on paper only
        source = source.resolve_neg()
    core = LOADED.core
    if x.is_cuda:
        from dropkit.core import triton  # noqa: PLC0415 - belongs to an extra

        scale = scale_from_threshold(threshold) if is_scaled else 1.0
        place = place or Place.whole(x.numel())
        out = triton.dropout(source, key & _U64, stream & _U64, threshold, scale, place)
    elif core is not None and x.is_cpu:
        out = torch.empty_like(source, memory_format=torch.contiguous_format)
        if place is None:
            core.dropout_flat(source, out, key, stream, threshold, is_scaled=is_scaled)
        else:
            scale = scale_from_threshold(threshold) if is_scaled else 1.0
            core.dropout(source, out, key, stream, threshold, scale, place)
    else:
        if x.is_cpu:
            _warn_once(LOADED.why_not)
        scale = scale_from_threshold(threshold) if is_scaled else 1.0
        place = place or Place.whole(x.numel())
        out = reference.dropout(source, key & _U64, stream & _U64, threshold, scale, place)
    return out if x.is_contiguous() else torch.empty_like(x).copy_(out)


_warned = False


def _warn_once(why_not: str) -> None:
    global _warned  # noqa: PLW0603 - once a process is what is meant
    if not _warned:
        _warned = True
        warnings.warn(
            f"dropkit runs without its C core, with the same bits but many times slower: {why_not} "
            "Run `dropkit doctor` for details.",
            CoreWarning,
            stacklevel=2,
        )
