"""Apply a mask to a tensor on its own device; autograd knows nothing of it."""

import warnings

import torch
from torch import Tensor

from dropkit.core import reference
from dropkit.core.binding import CODES, LOADED, Core
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold
from dropkit.errors import CoreError, CoreWarning, DtypeError

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
    core = LOADED.core if place is None and x.dtype in CODES else None
    if core is None or not x.is_cpu or not x.is_contiguous() or x.is_neg():
        return _dropout_of_any(x, key, stream, threshold, is_scaled, place)
    # Nearly all calls come here, many with some hundred elements: one short call, see dropkit.h.
    out = torch.empty_like(x)
    _write_flat(core, x, out, key, stream, threshold, is_scaled)
    return out


def dropout_(
    x: Tensor,
    key: int,
    stream: int,
    threshold: int,
    is_scaled: bool = True,
    place: Place | None = None,
) -> None:
    """`dropout` in place, for a contiguous tensor."""
    core = LOADED.core
    if core is None or not x.is_cpu or x.is_neg():
        x.copy_(dropout(x, key, stream, threshold, is_scaled, place))
    elif place is None:
        _write_flat(core, x, x, key, stream, threshold, is_scaled)
    else:
        scale = scale_from_threshold(threshold) if is_scaled else 1.0
        core.dropout(x, x, key, stream, threshold, scale, place)


def _write_flat(
    core: Core, x: Tensor, out: Tensor, key: int, stream: int, threshold: int, is_scaled: bool
) -> None:
    how = threshold | CODES[x.dtype] << 20 | (not is_scaled) << 24 | torch.get_num_threads() << 32
    status = core.dropout_flat(x.data_ptr(), out.data_ptr(), x.numel(), key, stream, how)
    if status:
        raise CoreError(f"the C core refused a call with status {status}: a fault in dropkit.")


def dropout_add(
    x: Tensor,
    residual: Tensor,
    key: int,
    stream: int,
    threshold: int,
    is_scaled: bool = True,
    place: Place | None = None,
) -> Tensor:
    """``where(keep, x * scale, 0) + residual``, rounded once for the halves; see `dropout`.

    Args:
        residual: Same shape, dtype and device as `x`.
    """
    check_dtype(x)
    scale = scale_from_threshold(threshold) if is_scaled else 1.0
    place = place or Place.whole(x.numel())
    source, added = x.contiguous().resolve_neg(), residual.contiguous().resolve_neg()
    if x.is_cuda:
        from dropkit.core import triton  # noqa: PLC0415 - belongs to an extra

        out = triton.dropout_add(source, added, key & _U64, stream & _U64, threshold, scale, place)
    elif x.is_cpu and LOADED.core is not None:
        out = torch.empty_like(source, memory_format=torch.contiguous_format)
        LOADED.core.dropout_add(source, added, out, key, stream, threshold, scale, place)
    else:
        if x.is_cpu:
            _warn_once(LOADED.why_not)
        out = reference.dropout_add(
            source, added, key & _U64, stream & _U64, threshold, scale, place
        )
    return _in_layout_of(x, out)


def _dropout_of_any(
    x: Tensor, key: int, stream: int, threshold: int, is_scaled: bool, place: Place | None
) -> Tensor:
    check_dtype(x)
    scale = scale_from_threshold(threshold) if is_scaled else 1.0
    place = place or Place.whole(x.numel())
    source = x.contiguous()  # before any data_ptr(): gradients often come expanded ...
    if source.is_neg():  # ... or negated on paper only
        source = source.resolve_neg()
    if x.is_cuda:
        from dropkit.core import triton  # noqa: PLC0415 - belongs to an extra

        out = triton.dropout(source, key & _U64, stream & _U64, threshold, scale, place)
    elif x.is_cpu and LOADED.core is not None:
        out = torch.empty_like(source, memory_format=torch.contiguous_format)
        LOADED.core.dropout(source, out, key, stream, threshold, scale, place)
    else:
        if x.is_cpu:
            _warn_once(LOADED.why_not)
        out = reference.dropout(source, key & _U64, stream & _U64, threshold, scale, place)
    return _in_layout_of(x, out)


def _in_layout_of(x: Tensor, out: Tensor) -> Tensor:
    """`out` with the memory format that an elementwise operation on `x` would give."""
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
