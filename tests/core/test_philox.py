"""Philox4x32-7 is Random123's: the published answers, by every one of our implementations."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropkit.core import reference
from dropkit.core.binding import LOADED

Words = tuple[int, ...]

U64 = st.integers(0, (1 << 64) - 1)
#: An element's index has 64 bits, so its block's number has 61.
BLOCKS = st.one_of(
    st.sampled_from([0, 1, (1 << 32) - 1, 1 << 32, (1 << 61) - 1]), U64.map(lambda n: n >> 3)
)


def _read(line: str) -> tuple[Words, Words, Words]:
    """Counter, key and output of one line: words in hex, parts between semicolons."""
    counter, key, output = (tuple(int(w, 16) for w in part.split()) for part in line.split(";"))
    return counter, key, output


def _halfwords(words: Words) -> list[int]:
    return [half for word in words for half in (word & 0xFFFF, word >> 16)]


LINES = (Path(__file__).parent / "known_answers.txt").read_text().splitlines()
known_answers = pytest.mark.parametrize(
    ("counter", "key", "output"), [_read(line) for line in LINES]
)


def test_file_is_whole() -> None:
    """The file holds the three published answers."""
    assert 3 == len(LINES)


@known_answers
def test_plain_python(counter: Words, key: Words, output: Words) -> None:
    """The twin in Python ints gives the published words."""
    assert output == reference.philox(counter, key)


def test_numpy() -> None:
    """The twin in numpy gives the published words of the one counter that an index can reach."""
    expected = [0xB709, 0x5F6F, 0x3F64, 0x0D89, 0x1F81, 0x4F12, 0x0A48, 0x4F73]
    assert expected == reference.halfwords(0, 0, 0, 8).tolist()


@given(key=U64, stream=U64, block=BLOCKS)
def test_numpy_is_plain_python(key: int, stream: int, block: int) -> None:
    """The twin in numpy is the twin in Python ints, low half of each word first."""
    low = 0xFFFFFFFF
    counter = (block & low, block >> 32, stream & low, stream >> 32)
    expected = _halfwords(reference.philox(counter, (key & low, key >> 32)))
    assert expected == reference.halfwords(key, stream, 8 * block, 8).tolist()


@given(
    key=U64, first=st.one_of(st.integers(0, 99), st.just((1 << 64) - 20)), cut=st.integers(0, 40)
)
def test_halfwords_may_begin_anywhere(key: int, first: int, cut: int) -> None:
    """Two pieces joined are the whole, also where indices wrap at 2**64."""
    whole = reference.halfwords(key, 3, first, 40).tolist()
    left = reference.halfwords(key, 3, first, cut).tolist()
    right = reference.halfwords(key, 3, (first + cut) % (1 << 64), 40 - cut).tolist()
    assert whole == left + right


@known_answers
@pytest.mark.skipif(LOADED.core is None, reason=f"there is no C core: {LOADED.why_not}")
def test_c_core(counter: Words, key: Words, output: Words) -> None:
    """The C core gives the published words."""
    assert LOADED.core is not None
    assert output == LOADED.core.philox(counter, key)
