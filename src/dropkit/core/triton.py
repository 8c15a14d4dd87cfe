"""The mask contract for CUDA tensors, in Triton; imported only where it is wanted.

Correctness is tested bit for bit in Triton's interpreter, and that the kernel compiles for CUDA.
**It has not been run on a GPU, and its speed on one has not been measured.** bfloat16 is tested
where products need no rounding: the interpreter cuts off what a GPU rounds to nearest even.

A mask cannot depend on the launch configuration: an element's halfword is computed from its own
index, the key and the stream alone, and the program's number only says which elements it writes.
So the configuration is fixed: nothing is tuned at run time.
"""

import struct

import torch
from torch import Tensor

from dropkit.core import reference
from dropkit.core.place import Place
from dropkit.errors import MissingExtraError

try:
    import triton
    import triton.language as tl
except ImportError as error:
    raise MissingExtraError(
        "dropout on CUDA tensors needs triton: pip install 'dropkit[triton]'."
    ) from error

_ELEMENTS = 1024  # a program; with four warps each thread draws one block, of eight elements
#: Fused, dropout_add's product would not be rounded before the sum.
_OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}

_M0, _M1 = tl.constexpr(reference.M0), tl.constexpr(reference.M1)
_W0, _W1 = tl.constexpr(reference.W0), tl.constexpr(reference.W1)
_ROUNDS = tl.constexpr(reference.ROUNDS)


@triton.jit
def _philox(block: tl.tensor, key: tl.tensor, stream: tl.tensor) -> tuple[tl.tensor, ...]:
    """Four words a block, each ``(n,)`` uint32; `block` ``(n,)``, `key`, `stream` ``()`` uint64."""
    c0, c1 = block.to(tl.uint32), (block >> 32).to(tl.uint32)
    c2, c3 = stream.to(tl.uint32), (stream >> 32).to(tl.uint32)
    k0, k1 = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        p0, p1 = c0.to(tl.uint64) * _M0, c2.to(tl.uint64) * _M1
        c0, c1 = (p1 >> 32).to(tl.uint32) ^ c1 ^ k0, p1.to(tl.uint32)
        c2, c3 = (p0 >> 32).to(tl.uint32) ^ c3 ^ k1, p0.to(tl.uint32)
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3


@triton.jit
def _halfwords_of_blocks(block: tl.tensor, key: tl.tensor, stream: tl.tensor) -> tl.tensor:
    """All eight halfwords of each block, in order: ``(n,)`` uint64 to ``(8 * n,)`` uint32."""
    w0, w1, w2, w3 = _philox(block, key, stream)
    words = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
    return tl.interleave(words & 0xFFFF, words >> 16)


@triton.jit
def _halfwords_of_elements(index: tl.tensor, key: tl.tensor, stream: tl.tensor) -> tl.tensor:
    """The halfword of each index, at the price of a block: ``(n,)`` uint64 to ``(n,)`` uint32."""
    w0, w1, w2, w3 = _philox(index >> 3, key, stream)
    lane = (index & 7).to(tl.uint32)
    word = tl.where(lane < 4, tl.where(lane < 2, w0, w1), tl.where(lane < 6, w2, w3))
    return (word >> ((lane & 1) * 16)) & 0xFFFF


_NUMBERS = ["n", "inner", "first_row", "row_stride", "column_offset"]
_NUMBERS += ["key", "stream", "threshold", "scale_bits"]


# The annotations pass every number as 64 bits whatever its value, and no value is specialized on:
# a new seed compiles nothing. The scale comes as the bits of a float64, because Triton passes
# floats as float32.
@triton.jit(do_not_specialize=_NUMBERS)
def _kernel(  # noqa: PLR0913 - a kernel has no objects to carry its numbers
    x: tl.tensor,
    residual: tl.tensor,  # or None
    y: tl.tensor,
    row_ids: tl.tensor,  # or None
    n: tl.int64,
    inner: tl.int64,
    first_row: tl.int64,
    row_stride: tl.int64,
    column_offset: tl.int64,
    key: tl.int64,
    stream: tl.int64,
    threshold: tl.int64,
    scale_bits: tl.int64,
    has_rows: tl.constexpr,  # or else the elements are one run of indices from column_offset
    is_aligned: tl.constexpr,  # each eight elements from a multiple of 8 are one whole block
    is_even: tl.constexpr,  # n is a multiple of 8
    elements: tl.constexpr,
) -> None:
    """``y = where(keep, x * scale, 0) + residual`` for the elements of one program."""
    if is_even:
        n = n // 8 * 8  # the same number, but now the compiler knows, and moves 16 bytes at once
    start = tl.program_id(0).to(tl.int64) * elements
    at = start + tl.arange(0, elements)
    drawn = start + 8 * tl.arange(0, elements // 8) if is_aligned else at

    column = drawn.to(tl.uint64)
    index = column_offset.to(tl.uint64) + column
    if has_rows:
        row = column // inner.to(tl.uint64)
        if row_ids is None:
            row_index = first_row.to(tl.uint64) + row
        else:
            row_index = tl.load(row_ids + row, mask=drawn < n, other=0).to(tl.uint64)
        index += row_index * row_stride.to(tl.uint64) - row * inner.to(tl.uint64)

    key, stream = key.to(tl.uint64), stream.to(tl.uint64)
    if is_aligned:
        halfword = _halfwords_of_blocks(index >> 3, key, stream)
    else:
        halfword = _halfwords_of_elements(index, key, stream)

    wide = tl.float64 if y.dtype.element_ty == tl.float64 else tl.float32
    scale = scale_bits.to(tl.int64).to(tl.float64, bitcast=True).to(wide)
    scaled = tl.load(x + at, mask=at < n, other=0).to(wide) * scale
    out = tl.where(halfword >= threshold.to(tl.uint32), scaled, 0.0)
    if residual is not None:
        out += tl.load(residual + at, mask=at < n, other=0).to(wide)
    tl.store(y + at, out.to(y.dtype.element_ty), mask=at < n)


def dropout(x: Tensor, key: int, stream: int, threshold: int, scale: float, place: Place) -> Tensor:
    """``where(keep, x * scale, 0)``; halves are scaled in float32 and rounded once.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16; CUDA, contiguous.
        key: Of the address, in [0, 2**64).
        stream: Likewise.
        threshold: Drop rate times 65536, in 0..65536.
        scale: Factor of the kept elements.
        place: Where the elements sit; `row_ids` may be on any device.

    Returns:
        A new tensor of the shape, dtype and device of `x`. Backward is this function of the
        gradient.

    Source:
        Philox4x32-7, Salmon et al. 2011, SC'11. The slow twin is `reference.dropout`.
    """
    return _launch(x, None, key, stream, threshold, scale, place)


def dropout_add(
    x: Tensor, residual: Tensor, key: int, stream: int, threshold: int, scale: float, place: Place
) -> Tensor:
    """``where(keep, x * scale, 0) + residual``; halves are scaled and added in float32.

    Product and sum are each rounded (never fused), and halves then once more, to their format.
    `residual` has the shape, dtype and device of `x` and is contiguous; for the rest see `dropout`.
    """
    return _launch(x, residual, key, stream, threshold, scale, place)


def _launch(
    x: Tensor,
    residual: Tensor | None,
    key: int,
    stream: int,
    threshold: int,
    scale: float,
    place: Place,
) -> Tensor:
    y = torch.empty_like(x)
    n = x.numel()
    if n == 0:
        return y
    rows, row_stride, first_row, column_offset, row_ids = place
    inner = n // rows
    has_rows = row_ids is not None or (rows > 1 and row_stride != inner)
    if not has_rows:
        column_offset += first_row * row_stride
    strides = (inner, row_stride, column_offset) if has_rows else (column_offset,)
    numbers = (inner, first_row, row_stride, column_offset, key, stream)
    with torch.cuda.device_of(x):  # Triton launches on the current device, not on the tensor's
        _kernel[triton.cdiv(n, _ELEMENTS),](
            x,
            residual,
            y,
            None if row_ids is None else row_ids.to(x.device),
            n,
            *(_signed(number) for number in numbers),
            threshold,
            *struct.unpack("<q", struct.pack("<d", scale)),
            has_rows=has_rows,
            is_aligned=all(stride % 8 == 0 for stride in strides),
            is_even=n % 8 == 0,
            elements=_ELEMENTS,
            **_OPTIONS,
        )
    return y


def _signed(number: int) -> int:
    """The same number mod 2**64, as int64 holds it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
