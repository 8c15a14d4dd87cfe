"""What the Triton kernel is compared with the slow twin on; needs no Triton itself.

bfloat16 cases have values and scales whose products and sums are exact, because Triton's
interpreter cuts off what a GPU rounds to nearest even.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch

from dropkit.core import reference
from dropkit.core.place import Place

DTYPES = ("float32", "float64", "float16", "bfloat16")
KEY, STREAM = 0xFEDCBA9876543210, 0x8000000180000003


@dataclass(frozen=True)
class Case:
    """One call of a kernel.

    Attributes:
        name: Of the test.
        n: Elements.
        dtype: Of torch, as text.
        threshold: Drop rate times 65536.
        place: None for the plain row-major index.
        values: "ramp" or "special" (infinities, nans, signed zeros, the largest, the smallest).
        call: "dropout", "dropout_add" or "backward".
        elements: Of a program.
        twin: Fields in which the slow twin's call is another, where the two must differ.
    """

    name: str
    n: int = 1000
    dtype: str = "float32"
    threshold: int = 32768
    place: Place | None = None
    key: int = KEY
    stream: int = STREAM
    values: str = "ramp"
    call: str = "dropout"
    elements: int = 1024
    twin: dict[str, Any] = field(default_factory=dict)


def _run(first: int, n: int = 1000) -> Place:
    """`n` consecutive elements from index `first`."""
    return Place(rows=1, row_stride=n, column_offset=first)


def _sizes() -> list[Case]:
    return [
        Case(f"{n} elements of {dtype}", n=n, dtype=dtype)
        for n, dtype in product([0, 1, 7, 8, 9, 1000, 1024, 1025, 4096 + 3], DTYPES)
    ]


def _firsts() -> list[Case]:
    """Where a carry could be lost, from the middle of a block and from its first element."""
    ends = {"2**34": 1 << 34, "2**35": 1 << 35, "2**63": 1 << 63, "2**64": 1 << 64}
    return [
        Case(f"from {name} - {back}, {n} elements", n=n, place=_run(end - back, n))
        for (name, end), back, n in product(ends.items(), [4, 8, 504], [1000, 1003])
    ]


def _places() -> list[Case]:
    ids = torch.tensor([5, 0, (1 << 62) + 7, 5, -1])
    places = {
        "rows from row 3": Place(5, 200, first_row=3),
        "rows from row 2**62": Place(5, 200, first_row=(1 << 62) + 3),
        "columns from 3": Place(5, 1003, column_offset=3),
        "columns from 8": Place(5, 1008, column_offset=8),
        "odd rows": Place(8, 1000),
        "odd stride": Place(5, 333, first_row=1),
        "stride of 2**61": Place(5, (1 << 61) + 8, first_row=2, column_offset=16),
        "row ids": Place(5, 200, row_ids=ids),
        "row ids, odd columns": Place(5, 1003, column_offset=7, row_ids=ids),
        "one row id": Place(1, 1000, row_ids=torch.tensor([9])),
        "one element a row": Place(1000, 1, row_ids=torch.arange(1000).flip(0)),
        "no rows": Place(0, 0),
    }
    return [Case(name, n=1000 if place.rows else 0, place=place) for name, place in places.items()]


def _values() -> list[Case]:
    # At these rates the scale is a power of two, which bfloat16 needs here.
    exact = [0, 32768, 65535, 65536]
    special = [
        Case(f"special {dtype} at {threshold}", 1003, dtype, threshold, values="special")
        for dtype, threshold in product(DTYPES, exact)
    ]
    rates = [
        Case(f"{dtype} at {threshold}", dtype=dtype, threshold=threshold, n=2000)
        for dtype, threshold in product(DTYPES[:3], [0, 1, 6554, 30001, 65535, 65536])
    ]
    return special + rates


def _ties() -> list[Case]:
    """A rate at which an element is the first that is kept, and one at which it is dropped."""
    lanes = reference.halfwords(KEY, STREAM, 0, 16).tolist()
    return [
        Case(
            f"halfword {i} {'at' if off == 0 else 'below'} the threshold, {where}",
            threshold=lanes[i] + off,
            place=place,
            n=n,
        )
        for i, off, (where, place, n) in product(
            range(8), [0, 1], [("aligned", None, 16), ("odd", _run(1, 15), 15)]
        )
    ]


def _programs() -> list[Case]:
    """Masks do not depend on which program draws what."""
    return [
        Case(f"programs of {elements}, {where}", place=place, elements=elements)
        for elements, (where, place) in product([16, 128], [("aligned", None), ("odd", _run(3))])
    ]


def _addresses() -> list[Case]:
    top = (1 << 64) - 1
    pairs = [(0, 0), (1, 0), (0, 1), (16, 1), (top, top), (1 << 63, 1 << 32), (1 << 31, top >> 1)]
    return [Case(f"address {key:x}, {stream:x}", key=key, stream=stream) for key, stream in pairs]


def _calls() -> list[Case]:
    ids = Place(5, 200, column_offset=1, row_ids=torch.tensor([5, 0, 7, 5, 6]))
    return [
        Case(
            f"{call} of {dtype}, {where}", dtype=dtype, threshold=threshold, place=place, call=call
        )
        for call, (dtype, threshold), (where, place) in product(
            ["dropout_add", "backward"],
            [("float32", 6554), ("float64", 6554), ("float16", 6554), ("bfloat16", 32768)],
            [("whole", None), ("from 3", _run(3)), ("row ids", ids)],
        )
    ]


CASES = [
    *_sizes(),
    *_firsts(),
    *_places(),
    *_values(),
    *_ties(),
    *_addresses(),
    *_programs(),
    *_calls(),
]

#: One bit of key, stream or index is another: the comparison must see it.
POWER = [
    Case("another key", twin={"key": KEY ^ 1 << 63}),
    Case("another stream", twin={"stream": STREAM ^ 1 << 63}),
    Case("another index", twin={"place": _run(1 << 60)}),
]
