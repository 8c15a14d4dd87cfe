"""An address: immutable, comparable, and folded as documented, so any language can repeat it."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropkit import Address
from dropkit.core.folds import folded
from dropkit.core.reference import philox
from dropkit.errors import AddressError

U64 = st.integers(0, (1 << 64) - 1)
LOW = 0xFFFFFFFF


def _documented(address: Address, part: int | str) -> Address:
    """The docstring of `Address.fold`, once more and apart."""

    def mixed(address: Address, domain: bytes, number: int) -> Address:
        key = address.key ^ int.from_bytes(domain, "little")
        counter = (number & LOW, number >> 32, address.stream & LOW, address.stream >> 32)
        out = philox(counter, (key & LOW, key >> 32))
        return Address(out[0] + (out[1] << 32), out[2] + (out[3] << 32))

    if isinstance(part, int):
        return mixed(address, b"fold int", part)
    text = part.encode("utf-8")
    address = mixed(address, b"fold str", len(text))
    padded = text + bytes(-len(text) % 8)
    for at in range(0, len(padded), 8):
        address = mixed(address, b"fold str", int.from_bytes(padded[at : at + 8], "little"))
    return address


def test_from_seed() -> None:
    """A seed is the key; the stream begins at 0."""
    address = Address.from_seed(7)
    assert (7, 0) == (address.key, address.stream)


@pytest.mark.parametrize(
    ("part", "key", "stream"),
    [
        (0, 0xA8D4D2EF2401CA01, 0xE98E4A7119494128),
        (12, 0x9A969FBF2B8744F0, 0xCAB8298878A57E7C),
        (2**64 - 1, 0xE34DF639D3FB77BB, 0xB74DB3512163D8B6),
        ("", 0xA487ECB2160BBE63, 0x51B70A6CF08DDAF1),
        ("12", 0x26EBBF5A77E32164, 0x90A25BDFA8753BDE),
        ("encoder.drop", 0x1FB8A8FA49476E66, 0x3D38726A81179B23),
        ("layer.12.attention", 0x4344C0415917931C, 0x01F7DD64C1C132A4),
        ("\u00e9t\u00e9", 0x04838F0FE5A2ED9B, 0xC16E10CAFB66A5E9),
    ],
)
def test_recorded_folds(part: int | str, key: int, stream: int) -> None:
    """Folds of seed 7 are those recorded with version 0.1: a mask keeps its address for good."""
    assert Address(key, stream) == Address.from_seed(7).fold(part)


@given(key=U64, stream=U64, part=st.one_of(U64, st.text(max_size=20)))
def test_fold_is_documented(key: int, stream: int, part: int | str) -> None:
    """What the docstring of `fold` says is what it does."""
    address = Address(key, stream)
    assert _documented(address, part) == address.fold(part)


def test_order_matters() -> None:
    """Folding a then b is not folding b then a."""
    root = Address.from_seed(1)
    assert root.fold("a").fold("b") != root.fold("b").fold("a")


def test_number_is_not_text() -> None:
    """The number 12 and the text "12" name two children."""
    root = Address.from_seed(1)
    assert root.fold(12) != root.fold("12")


def test_texts_are_told_apart_by_length() -> None:
    """Padding does not join texts, and one text is not two folded one by one."""
    root = Address.from_seed(1)
    children = [root.fold("a"), root.fold("a\0"), root.fold(""), root.fold("").fold("a")]
    assert 4 == len(set(children))


def test_equal_and_hash() -> None:
    """Equal numbers make equal addresses with equal hashes; either number tells them apart."""
    one, again = Address(1, 2), Address(1, 2)
    assert (one, hash(one)) == (again, hash(again))
    assert 3 == len({one, again, Address(2, 2), Address(1, 3)})


@given(key=U64, stream=U64)
def test_repr_evaluates(key: int, stream: int) -> None:
    """The repr is Python for the same address."""
    address = Address(key, stream)
    assert address == eval(repr(address))


def test_repr() -> None:
    """The repr is in hex."""
    assert "Address(key=0xff, stream=0x0)" == repr(Address(255, 0))


@pytest.mark.parametrize("name", ["key", "stream"])
def test_immutable(name: str) -> None:
    """An address cannot be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Address(1, 2), name, 3)


@pytest.mark.parametrize("number", [np.int64(5), np.uint64(5), np.uint8(5), True + 4])
def test_whole_numbers_of_any_kind(number: int) -> None:
    """Integers of numpy's are whole numbers, and are held as plain ints."""
    address = Address(number, number)
    assert Address(5, 5).fold(5) == address.fold(number)
    assert int is type(address.key)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (2**64, "18446744073709551616"),
        (1.0, "1.0"),
        (None, "None"),
        (np.int64(-3), "np.int64(-3)"),
        (b"a", "b'a'"),
    ],
)
@pytest.mark.parametrize("name", ["key", "stream", "seed", "part"])
def test_refusals(value: object, shown: str, name: str) -> None:
    """Anything but a whole number in [0, 2**64) is refused under the parameter's own name."""
    make = {
        "key": lambda: Address(value, 0),
        "stream": lambda: Address(0, value),
        "seed": lambda: Address.from_seed(value),
        "part": lambda: Address.from_seed(0).fold(value),
    }[name]
    message = f"`{name}` must be a whole number in [0, 2**64); got {shown}."
    with pytest.raises(AddressError, match="^" + re.escape(message) + "$"):
        make()


def test_text_is_no_seed() -> None:
    """A text can be folded, but is no seed."""
    message = "`seed` must be a whole number in [0, 2**64); got '7'."
    with pytest.raises(AddressError, match="^" + re.escape(message) + "$"):
        Address.from_seed("7")


@pytest.mark.parametrize("part", [0, 7, 2**64 - 1, "", "encoder.layer.0.drop", "ü" * 9])
def test_folded(part: int | str) -> None:
    """Many addresses folded at once are those that are folded one by one."""
    addresses = [Address(0, 0), Address(2**64 - 1, 1), *map(Address.from_seed, range(5))]
    addresses.append(Address(1 << 63, 1 << 63))
    assert [address.fold(part) for address in addresses] == folded(addresses, part)
