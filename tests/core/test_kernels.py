"""Every kernel draws the slow twin's bits, whatever the length, the place and the threads."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dropkit.core.place import Place

Draw = Callable[..., Tensor]
Bits = Callable[[Tensor], list[int]]

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
U64 = st.integers(0, (1 << 64) - 1)
#: Where a carry could be lost: a block's low word, the 2**35 span of a run, the end of indices.
FIRSTS = st.one_of(
    st.integers(0, 20),
    *(
        st.integers(-300, 20).map(lambda off, at=at: (at + off) % (1 << 64))
        for at in (1 << 34, 1 << 35, 3 << 35, 1 << 63, 1 << 64)
    ),
    U64,
)
THRESHOLDS = st.one_of(st.sampled_from([0, 1, 32767, 32768, 65535, 65536]), st.integers(0, 65536))
#: Widths of a block, of registers and of a turn, and one more and one less.
EDGES = [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 129]
#: Work enough that the fastest kernel shares it among five threads.
BIG = (1 << 20) + 77


def _run_of(n: int, first: int) -> Place:
    """`n` consecutive elements from index `first`."""
    return Place(rows=1, row_stride=n, column_offset=first)


@given(
    n=st.integers(0, 300),
    first=FIRSTS,
    threshold=THRESHOLDS,
    key=U64,
    stream=U64,
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 2]),
)
@settings(max_examples=300)
def test_equals_the_twin(
    core_draw: Draw,
    twin_draw: Draw,
    bits: Bits,
    isa: str,
    n: int,
    first: int,
    threshold: int,
    key: int,
    stream: int,
    dtype: torch.dtype,
    threads: int,
) -> None:
    """Any run of elements is the twin's, bit for bit."""
    x = torch.linspace(-3.0, 3.0, n).to(dtype)
    twin = twin_draw(x, _run_of(n, first), threshold, key, stream)
    drawn = core_draw(isa, threads, x, _run_of(n, first), threshold, key, stream)
    assert bits(twin) == bits(drawn)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [0, 5, (1 << 34) - 4, (1 << 35) - 4, (1 << 64) - 4])
def test_edges(
    core_draw: Draw, twin_draw: Draw, bits: Bits, isa: str, dtype: torch.dtype, first: int
) -> None:
    """Lengths around each width are the twin's."""
    for n in EDGES:
        x = torch.arange(1.0, n + 1.0).to(dtype)
        twin = twin_draw(x, _run_of(n, first), 30000, 11, 12)
        assert bits(twin) == bits(core_draw(isa, 1, x, _run_of(n, first), 30000, 11, 12))


@pytest.mark.parametrize("first", [0, 3, (1 << 35) - BIG // 2])
def test_several_threads(core_draw: Draw, twin_draw: Draw, isa: str, first: int) -> None:
    """A tensor that several threads share is the twin's."""
    twin = twin_draw(torch.ones(BIG), _run_of(BIG, first), 32768, 2**63, 9)
    for dtype in DTYPES:
        x = torch.ones(BIG, dtype=dtype)
        for threads in (1, 2, 5):
            drawn = core_draw(isa, threads, x, _run_of(BIG, first), 32768, 2**63, 9)
            assert torch.equal(twin.to(dtype), drawn), f"{dtype}, {threads} threads"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inner", [1, 2, 7, 8, 63, 64, 65, 130])
@pytest.mark.parametrize("threads", [1, 5])
def test_rows(
    core_draw: Draw, twin_draw: Draw, isa: str, dtype: torch.dtype, inner: int, threads: int
) -> None:
    """Rows of any length begin where their ids say, with many short rows shared by threads too."""
    rows = 12_000 if threads > 1 and inner == 1 else 50
    ids = torch.randint(-(2**62), 2**62, (rows,))
    place = Place(rows, row_stride=inner + 3, column_offset=5, row_ids=ids)
    x = torch.linspace(-3.0, 3.0, rows * inner).to(dtype)
    twin = twin_draw(x, place, 30000, 5, 6)
    assert torch.equal(twin, core_draw(isa, threads, x, place, 30000, 5, 6))


@given(n=st.integers(1, 300), cut=st.integers(0, 300), first=FIRSTS, key=U64)
@settings(max_examples=50)
def test_chunks_joined_are_the_whole(
    core_draw: Draw, isa: str, n: int, cut: int, first: int, key: int
) -> None:
    """Two runs side by side draw what one long run draws."""
    cut = min(cut, n)
    x = torch.ones(n)
    whole = core_draw(isa, 1, x, _run_of(n, first), 20000, key, 1)
    second = (first + cut) % (1 << 64)
    left = core_draw(isa, 1, x[:cut].clone(), _run_of(cut, first), 20000, key, 1)
    right = core_draw(isa, 1, x[cut:].clone(), _run_of(n - cut, second), 20000, key, 1)
    assert whole.tolist() == left.tolist() + right.tolist()


@given(low=st.integers(0, 65536), high=st.integers(0, 65536), key=U64)
@settings(max_examples=50)
def test_rates_are_nested(core_draw: Draw, isa: str, low: int, high: int, key: int) -> None:
    """What is dropped at a rate is dropped at every higher rate."""
    low, high = sorted((low, high))
    x = torch.ones(200)
    at_low = core_draw(isa, 1, x, _run_of(200, 0), low, key, 0) == 0
    at_high = core_draw(isa, 1, x, _run_of(200, 0), high, key, 0) == 0
    assert 0 == int((at_low & ~at_high).sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", range(9))
def test_any_alignment(
    core_draw: Draw, twin_draw: Draw, bits: Bits, isa: str, dtype: torch.dtype, offset: int
) -> None:
    """Tensors may begin at any element of their storage, input and output apart."""
    x = torch.linspace(-2.0, 2.0, 300).to(dtype)[offset : offset + 280]
    room = torch.full((300,), 5.0, dtype=dtype)
    y = room[9 - offset : 289 - offset]
    core_draw(isa, 1, x, _run_of(280, 3), 32768, 4, 5, y)
    assert bits(twin_draw(x, _run_of(280, 3), 32768, 4, 5)) == bits(y)
    outside = torch.cat([room[: 9 - offset], room[289 - offset :]])
    assert [5.0] * 20 == outside.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [65, BIG])
def test_in_place(core_draw: Draw, isa: str, dtype: torch.dtype, n: int) -> None:
    """Output and input may be the same memory."""
    x = torch.ones(n, dtype=dtype)
    apart = core_draw(isa, 2, x, _run_of(n, 1), 20000, 1, 2)
    core_draw(isa, 2, x, _run_of(n, 1), 20000, 1, 2, x)
    assert torch.equal(apart, x)


def test_large_result(core_draw: Draw, isa: str) -> None:
    """What is written to memory that the system is asked for in large pages is the same."""
    n = (32 << 20) // 4 + 1000
    x = torch.ones(n)
    room = torch.empty(n + 3)
    core_draw(isa, 1, x, _run_of(n, 1), 20000, 1, 2, room[3:])
    core_draw(isa, 1, x, _run_of(n, 1), 20000, 1, 2, x)
    assert torch.equal(x, room[3:])


def test_the_comparison_can_fail(core_draw: Draw, twin_draw: Draw, bits: Bits, isa: str) -> None:
    """One bit of key, stream, index or threshold is seen by the comparison with the twin."""
    x = torch.ones(300)
    drawn = bits(core_draw(isa, 1, x, _run_of(300, 0), 32768, 1, 1))
    other = [
        twin_draw(x, _run_of(300, 0), 32768, 0, 1),
        twin_draw(x, _run_of(300, 0), 32768, 1, 0),
        twin_draw(x, _run_of(300, 1), 32768, 1, 1),
        twin_draw(x, _run_of(300, 0), 32769, 1, 1),
    ]
    assert [] == [twin for twin in other if bits(twin) == drawn]
