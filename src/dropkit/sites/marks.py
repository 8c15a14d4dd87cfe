"""Rates with a mark in their last bits, so that a call tells which attribute its rate came from."""

import contextlib
import math
from collections.abc import Iterator, Sequence

from dropkit.sites.sources import Source

# A mark is a multiple of this: no random number that torch or dropkit draws is so fine that it
# would fall between a rate and its mark in one run.
_GRAIN = 2.0**-40


class Marks:
    """Which source a marked rate belongs to."""

    def __init__(self) -> None:
        self._sources: dict[int, Source] = {}
        self._rates: dict[int, float] = {}

    def add(self, source: Source, rate: float) -> float:
        """`rate`, marked as this source's."""
        number = len(self._sources) + 1
        mark = number * _GRAIN
        marked = rate - mark if rate > 0.5 else rate + mark
        self._sources[number] = source
        self._rates[number] = rate
        return marked

    def source_of(self, rate: float) -> Source | None:
        """Whose mark `rate` bears, to within a rounding; None for a rate without any."""
        if math.isnan(rate):
            return None
        for number, plain in self._rates.items():
            if math.isclose(abs(rate - plain), number * _GRAIN, abs_tol=_GRAIN / 256, rel_tol=0.0):
                return self._sources[number]
        return None


@contextlib.contextmanager
def marked(sources: Sequence[Source]) -> Iterator[Marks]:
    """Inside the block each source that can be written has a rate with a mark of its own."""
    marks = Marks()
    with contextlib.ExitStack() as stack:
        for source in sources:
            if not source.is_settable:
                continue
            # a layer that is left out would hide the sites in it
            rate = 0.0 if source.kind == "LayerDrop" else source.rate
            source.set(marks.add(source, rate), stack)
        yield marks
