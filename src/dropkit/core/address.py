"""The name of a mask."""

import operator
from dataclasses import dataclass
from typing import Self

from dropkit.core.reference import LOW, philox
from dropkit.errors import AddressError

_LIMIT = 1 << 64
# Folding draws from keys that no mask uses, and numbers from others than texts.
NUMBER = int.from_bytes(b"fold int", "little")
TEXT = int.from_bytes(b"fold str", "little")


def as_u64(value: object, name: str) -> int:
    """`value` as an int in [0, 2**64).

    Raises:
        AddressError: It is no whole number, or outside the range.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number < _LIMIT:
        raise AddressError(f"`{name}` must be a whole number in [0, 2**64); got {value!r}.")
    return number


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Names a mask: equal addresses give equal masks on every machine.

    Attributes:
        key: The Philox key, in [0, 2**64).
        stream: The upper half of the Philox counter, in [0, 2**64).

    Raises:
        AddressError: `key` or `stream` is not such a number.

    Source:
        Bits: Philox4x32-7, Salmon et al. 2011, SC'11.

    >>> Address.from_seed(7) == Address(key=7, stream=0)
    True
    """

    key: int
    stream: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", as_u64(self.key, "key"))
        object.__setattr__(self, "stream", as_u64(self.stream, "stream"))

    @classmethod
    def from_seed(cls, seed: int) -> Self:
        """The address at the root of a seed's tree.

        Args:
            seed: A whole number in [0, 2**64).
        """
        return cls(as_u64(seed, "seed"), 0)

    def fold(self, part: int | str) -> "Address":
        """The child address for `part`.

        A number is mixed in by one Philox block: counter ``(lo32(part), hi32(part),
        lo32(stream), hi32(stream))``, key ``key ^ "fold int"`` (its bytes read as a
        little-endian number); output words 0 and 1 are the child's key, 2 and 3 its stream.
        A text is folded like numbers, under ``key ^ "fold str"``: first the length of its
        UTF-8 form, then its bytes eight at a time, little-endian, zero-padded.

        Args:
            part: A whole number in [0, 2**64), or a text.

        Raises:
            AddressError: `part` is neither.

        >>> Address.from_seed(7).fold("encoder.drop").fold(0)
        Address(key=0x1993ab92381139b6, stream=0xa81b4fffa06b2f9d)
        """
        if not isinstance(part, str):
            return _mixed(self, NUMBER, as_u64(part, "part"))
        data = part.encode()
        child = _mixed(self, TEXT, len(data))
        for at in range(0, len(data), 8):
            child = _mixed(child, TEXT, int.from_bytes(data[at : at + 8], "little"))
        return child

    def __repr__(self) -> str:
        return f"Address(key={self.key:#x}, stream={self.stream:#x})"


def _mixed(parent: Address, domain: int, number: int) -> Address:
    key, stream = parent.key ^ domain, parent.stream
    counter = (number & LOW, number >> 32, stream & LOW, stream >> 32)
    w0, w1, w2, w3 = philox(counter, (key & LOW, key >> 32))
    return Address(w0 | w1 << 32, w2 | w3 << 32)
