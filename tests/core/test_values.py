"""What happens to each value: kept ones are scaled and rounded once, dropped ones are +0."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dropkit.core.place import Place

Draw = Callable[..., Tensor]
Bits = Callable[[Tensor], list[int]]

HALVES = [torch.bfloat16, torch.float16]
DTYPES = [torch.float32, torch.float64, *HALVES]


def _specials(dtype: torch.dtype) -> Tensor:
    info = torch.finfo(dtype)
    tiniest = info.smallest_normal * info.eps
    values = [math.inf, math.nan, 0.0, 1.0, info.max, info.max / 2, info.smallest_normal, tiniest]
    return torch.tensor([s * v for v in [*values, 3 * tiniest, 1.5] for s in (1, -1)], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0, 1, 6554, 32768, 65535])
def test_special_values(
    core_draw: Draw, twin_draw: Draw, bits: Bits, isa: str, dtype: torch.dtype, threshold: int
) -> None:
    """Infinities, nans, signed zeros, subnormals and the largest values are the twin's."""
    x = _specials(dtype).repeat(30)
    place = Place.whole(x.numel())
    twin = twin_draw(x, place, threshold, 3, 4)
    assert bits(twin) == bits(core_draw(isa, 1, x, place, threshold, 3, 4))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("threshold", [0, 6554, 32768, 60000])
def test_every_half(
    core_draw: Draw, bits: Bits, isa: str, dtype: torch.dtype, threshold: int
) -> None:
    """All 65536 values of a 16-bit format, kept, are torch's own float32 product rounded once."""
    x = torch.arange(65536).to(torch.uint16).view(dtype)
    y = core_draw(isa, 1, x, Place.whole(65536), threshold, 5, 6)
    kept = core_draw(isa, 1, torch.ones_like(x), Place.whole(65536), threshold, 5, 6) != 0
    scale = torch.tensor(65536 / (65536 - threshold), dtype=torch.float32)
    expected = torch.where(kept, (x.float() * scale).to(dtype), torch.zeros_like(x))
    assert bits(expected) == bits(y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [60000, 65536])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.0, -1.0])
def test_dropped_is_plus_zero(
    core_draw: Draw, isa: str, dtype: torch.dtype, threshold: int, value: float
) -> None:
    """A dropped element is +0 whatever it was: selected, not multiplied."""
    place = Place.whole(200)
    kept = core_draw(isa, 1, torch.ones(200, dtype=dtype), place, threshold, 7, 8) != 0
    y = core_draw(isa, 1, torch.full((200,), value, dtype=dtype), place, threshold, 7, 8)
    dropped = y[~kept]
    assert dropped.numel() > 150
    assert [0.0] * dropped.numel() == dropped.tolist()
    assert not dropped.signbit().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_kept_values(core_draw: Draw, isa: str, dtype: torch.dtype) -> None:
    """A kept nan is nan, a kept infinity stays, -0 keeps its sign, the largest value overflows."""
    place = Place.whole(64)
    kept = core_draw(isa, 1, torch.ones(64, dtype=dtype), place, 32768, 7, 8) != 0

    def drawn(value: float) -> Tensor:
        x = torch.full((64,), value, dtype=dtype)
        return core_draw(isa, 1, x, place, 32768, 7, 8)[kept]

    assert drawn(math.nan).isnan().all()
    assert {math.inf} == set(drawn(math.inf).tolist())
    assert {-math.inf} == set(drawn(-torch.finfo(dtype).max).tolist())
    assert drawn(-0.0).signbit().all()
    assert {3.0} == set(drawn(1.5).tolist())
