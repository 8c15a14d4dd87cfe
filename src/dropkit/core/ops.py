"""Dropout as an operator that torch knows: with a fake, autograd and a kernel for any device.

All numbers of the mask are plain ints in the schema, so autograd keeps 24 bytes and no tensor,
and backward is the same operator on the gradient: it draws the same bits again.
"""

import warnings
from typing import Any

import torch
from torch import Tensor

from dropkit.core import reference
from dropkit.core.binding import LOADED
from dropkit.core.place import Place
from dropkit.errors import CoreWarning, DtypeError

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_U64 = (1 << 64) - 1

_library = torch.library.Library("dropkit", "DEF")
_library.define(
    "dropout(Tensor x, SymInt key, SymInt stream, SymInt threshold, float scale, "
    "SymInt[]? place=None, Tensor? row_ids=None) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def check_dtype(x: Tensor) -> None:
    """Raise DtypeError unless `x` is of a floating type that has a kernel."""
    if x.dtype not in DTYPES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        got = str(x.dtype).removeprefix("torch.")
        raise DtypeError(
            f"`x` must be a tensor of {known}; got {got}. Convert it first, e.g. x.float()."
        )


def _place(x: Tensor, numbers: list[int] | None, row_ids: Tensor | None) -> Place:
    if numbers is None:
        return Place.whole(x.numel())
    rows, row_stride, first_row, column_offset = numbers
    return Place(rows, row_stride, first_row, column_offset, row_ids)


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


def _on_any_device(
    x: Tensor,
    key: int,
    stream: int,
    threshold: int,
    scale: float,
    place: list[int] | None = None,
    row_ids: Tensor | None = None,
) -> Tensor:
    check_dtype(x)
    if x.device.type == "cpu":
        _warn_once(LOADED.why_not)
    out = reference.dropout(
        x.contiguous(), key & _U64, stream & _U64, threshold, scale, _place(x, place, row_ids)
    )
    return _in_layout_of(x, out)


def _on_cpu(
    x: Tensor,
    key: int,
    stream: int,
    threshold: int,
    scale: float,
    place: list[int] | None = None,
    row_ids: Tensor | None = None,
) -> Tensor:
    core = LOADED.core
    if core is None:
        return _on_any_device(x, key, stream, threshold, scale, place, row_ids)
    check_dtype(x)
    source = x.contiguous()  # before any data_ptr(): gradients often come expanded
    out = torch.empty_like(source, memory_format=torch.contiguous_format)
    core.dropout(source, out, key, stream, threshold, scale, _place(x, place, row_ids))
    return _in_layout_of(x, out)


def _fake(x: Tensor, *_: Any) -> Tensor:
    check_dtype(x)
    return torch.empty_like(x)


def _keep_numbers(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    ctx.numbers = inputs[1:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return torch.ops.dropkit.dropout(grad, *ctx.numbers), *(None,) * len(ctx.numbers)


_library.impl("dropout", _on_cpu, "CPU")
_library.impl("dropout", _on_any_device, "CompositeExplicitAutograd")
torch.library.register_fake("dropkit::dropout", _fake, lib=_library)
torch.library.register_autograd(
    "dropkit::dropout", _backward, setup_context=_keep_numbers, lib=_library
)


def dropout(
    x: Tensor, key: int, stream: int, threshold: int, scale: float, place: Place | None = None
) -> Tensor:
    """``where(keep, x * scale, 0)`` with gradients through the survivors only.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; any device, any strides.
        key: Of the address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        threshold: Drop rate times 65536, in 0..65536.
        scale: Factor of the kept elements.
        place: Where the elements sit; None for the plain row-major index.

    Raises:
        DtypeError: `x` is of another type.
    """
    key, stream = _signed(key), _signed(stream)
    numbers = row_ids = None
    if place is not None:
        rows, row_stride, first_row, column_offset, row_ids = place
        numbers = [rows, row_stride, _signed(first_row), _signed(column_offset)]
    out: Tensor = torch.ops.dropkit.dropout(x, key, stream, threshold, scale, numbers, row_ids)
    return out


def _signed(number: int) -> int:
    """The same 64 bits as the operator's schema holds them."""
    return number - (1 << 64) if number >= 1 << 63 else number
