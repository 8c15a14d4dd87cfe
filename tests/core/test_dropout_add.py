"""Dropout into a residual stream: ``(keep ? x * scale : +0) + residual``, rounded once."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dropkit.core import reference
from dropkit.core.binding import LOADED
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold

Bits = Callable[[Tensor], list[int]]

HALVES = [torch.bfloat16, torch.float16]
DTYPES = [torch.float32, torch.float64, *HALVES]
U64 = st.integers(0, (1 << 64) - 1)
#: Work enough that the fastest kernel shares it between two threads.
BIG = (1 << 19) + 5
#: (isa, threads, x, residual, threshold, ...) -> y
Add = Callable[..., Tensor]


@pytest.fixture(scope="session")
def core_add() -> Add:
    """Draw and add with the C core, at index 3: forces an instruction set and a thread count."""
    core = LOADED.core

    def add(
        isa: str,
        threads: int,
        x: Tensor,
        residual: Tensor,
        threshold: int,
        y: Tensor | None = None,
        place: Place | None = None,
    ) -> Tensor:
        assert core is not None
        before = core.isa, torch.get_num_threads()
        out = torch.full_like(x, 77.0) if y is None else y
        core.force(isa)
        torch.set_num_threads(threads)
        try:
            scale = scale_from_threshold(threshold)
            core.dropout_add(x, residual, out, 11, 12, threshold, scale, place or _place(x))
        finally:
            core.force(before[0])
            torch.set_num_threads(before[1])
        return out

    return add


def _place(x: Tensor) -> Place:
    return Place(rows=1, row_stride=x.numel(), column_offset=3)


def _twin(x: Tensor, residual: Tensor, threshold: int, place: Place | None = None) -> Tensor:
    scale = scale_from_threshold(threshold)
    return reference.dropout_add(x, residual, 11, 12, threshold, scale, place or _place(x))


def _kept(x: Tensor, threshold: int) -> Tensor:
    return reference.keep_mask(11, 12, threshold, _place(x), x.numel())


@given(
    n=st.integers(0, 300),
    threshold=st.one_of(st.sampled_from([0, 1, 65535, 65536]), st.integers(0, 65536)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
@settings(max_examples=200)
def test_equals_the_twin(
    core_add: Add, bits: Bits, isa: str, n: int, threshold: int, dtype: torch.dtype, seed: int
) -> None:
    """Any run of elements is the twin's, bit for bit."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator).to(dtype)
    residual = torch.randn(n, generator=generator).to(dtype)
    twin = _twin(x, residual, threshold)
    assert bits(twin) == bits(core_add(isa, 1, x, residual, threshold))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_twin_is_the_sum(dtype: torch.dtype) -> None:
    """The twin is what torch's own operators give in a wider type, rounded once."""
    x, residual = torch.randn(2, 500).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    scale = torch.tensor(scale_from_threshold(6554), dtype=wide)
    dropped = torch.where(_kept(x, 6554), x.to(wide) * scale, torch.tensor(0.0, dtype=wide))
    assert torch.equal((dropped + residual.to(wide)).to(dtype), _twin(x, residual, 6554))


@pytest.mark.parametrize("dtype", HALVES)
def test_rounded_once(core_add: Add, isa: str, dtype: torch.dtype) -> None:
    """A sum that rounding in between would change is right, and there are many such sums."""
    x, residual = torch.randn(2, 2000).to(dtype)
    y = core_add(isa, 1, x, residual, 6554)
    scale = torch.tensor(scale_from_threshold(6554))
    kept = _kept(x, 6554)
    once = (x.float() * scale + residual.float()).to(dtype)
    twice = (x.float() * scale).to(dtype) + residual
    assert torch.equal(once[kept], y[kept])
    assert int((once != twice).sum()) > 100


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(core_add: Add, bits: Bits, isa: str, dtype: torch.dtype) -> None:
    """Infinities, nans, signed zeros, subnormals and the largest values, in all pairs."""
    info = torch.finfo(dtype)
    tiny = info.smallest_normal * info.eps
    values = [math.inf, math.nan, 0.0, 1.0, info.max, info.smallest_normal, tiny, 3 * tiny]
    signed = torch.tensor([s * v for v in values for s in (1, -1)], dtype=dtype)
    x, residual = (grid.reshape(-1) for grid in torch.meshgrid(signed, signed, indexing="ij"))
    for threshold in (0, 6554, 32768, 65535, 65536):
        twin = _twin(x, residual, threshold)
        assert bits(twin) == bits(core_add(isa, 1, x, residual, threshold))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [60000, 65536])
@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0])
def test_dropped_is_the_residual(
    core_add: Add, isa: str, dtype: torch.dtype, threshold: int, value: float
) -> None:
    """Where `x` is dropped the residual passes, whatever `x` was; -0 becomes +0 as in any sum."""
    x = torch.full((200,), value, dtype=dtype)
    residual = torch.randn(200).to(dtype)
    residual[::3] = -0.0
    dropped = ~_kept(x, threshold)
    y = core_add(isa, 1, x, residual, threshold)[dropped]
    assert y.numel() > 150
    assert residual[dropped].tolist() == y.tolist()
    assert not y[residual[dropped] == 0].signbit().any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 65, BIG])
@pytest.mark.parametrize("threads", [1, 2])
def test_in_place(core_add: Add, isa: str, dtype: torch.dtype, n: int, threads: int) -> None:
    """The output may be the memory of `x`, of the residual, or of both."""
    x, residual = torch.randn(2, n).to(dtype)
    apart = core_add(isa, 1, x, residual, 20000)
    same = core_add(isa, 1, x, x.clone(), 20000)
    into_x, into_residual, into_both = x.clone(), residual.clone(), x.clone()
    core_add(isa, threads, into_x, residual, 20000, into_x)
    core_add(isa, threads, x, into_residual, 20000, into_residual)
    core_add(isa, threads, into_both, into_both, 20000, into_both)
    assert torch.equal(apart, into_x)
    assert torch.equal(apart, into_residual)
    assert torch.equal(same, into_both)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 4])
def test_rows(core_add: Add, isa: str, dtype: torch.dtype, threads: int) -> None:
    """Rows begin where their ids say, for the residual as for `x`."""
    rows, inner = 10_000, 3
    place = Place(rows, row_stride=inner + 2, row_ids=torch.randint(0, 2**40, (rows,)))
    x, residual = torch.randn(2, rows * inner).to(dtype)
    twin = _twin(x, residual, 30000, place)
    assert torch.equal(twin, core_add(isa, threads, x, residual, 30000, place=place))


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_residual_is_dropout(core_add: Add, isa: str, dtype: torch.dtype) -> None:
    """Adding +0 gives what dropout alone gives."""
    x = torch.randn(300).to(dtype)
    y = core_add(isa, 1, x, torch.zeros_like(x), 20000)
    scale = scale_from_threshold(20000)
    assert torch.equal(reference.dropout(x, 11, 12, 20000, scale, _place(x)), y)


def test_empty(core_add: Add, isa: str) -> None:
    """No elements, no work."""
    assert (0,) == core_add(isa, 2, torch.empty(0), torch.empty(0), 20000).shape
