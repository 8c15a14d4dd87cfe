"""Which operators the output of each site reaches, and by which path."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch import nn

from dropkit.auditing.operations import KINDS, bits_of, kinds_of
from dropkit.sites.caller import Caller


@dataclass(frozen=True)
class Edge:
    """What dropped in one place reaches another.

    Attributes:
        origin: Number of the place that drops.
        kind: Of the operator that is reached; see `operations`. ``"output"`` for the model's.
        path: Kinds of the operators between, as bits. Several paths give several edges, but none
            whose kinds are all in another's.
        module: The innermost module whose forward was running; None outside of any.
        to: Number of the place, where `kind` is ``"dropout"``; else -1.
        name: Of the output that is reached, as ``"logits"`` or ``"0"``; else the operator's.
    """

    origin: int
    kind: str
    path: int
    module: nn.Module | None = field(compare=True, hash=True)
    to: int = -1
    name: str = ""

    @property
    def through(self) -> frozenset[str]:
        """The kinds of the operators between."""
        return kinds_of(self.path)


class Flow:
    """The edges of one forward.

    A place, or *origin*, is a line of code in a module at which a mask is drawn, however often.

    Attributes:
        factors: How often a tensor was multiplied by a plain number, for each module whose forward
            was running and each number.
    """

    def __init__(self) -> None:
        self.factors: Counter[tuple[nn.Module | None, float]] = Counter()
        self._edges: dict[int, dict[Edge, None]] = {}  # by origin, in the order they were seen
        self._numbers: dict[Caller, int] = {}

    def origin(self, caller: Caller) -> int:
        """Number of the place that `caller` is."""
        return self._numbers.setdefault(caller, len(self._numbers))

    def add(self, edge: Edge) -> None:
        """Note an edge; an equal one is noted once."""
        self._edges.setdefault(edge.origin, {})[edge] = None

    def edges(
        self,
        kind: str | None = None,
        *,
        origins: Iterable[int] | None = None,
        only: frozenset[str] | None = None,
        without: frozenset[str] = frozenset(),
    ) -> Iterator[Edge]:
        """The edges that are as said, by origin, in the order they were seen.

        Args:
            kind: Of what is reached; None for all.
            origins: Numbers of the places that drop; None for all.
            only: The kinds that may lie between; `operations.DIRECT` for what feeds directly.
            without: Kinds that may not.
        """
        unwanted = bits_of(without) | (0 if only is None else bits_of(set(KINDS) - only))
        for origin in sorted(self._edges if origins is None else set(origins)):
            for edge in self._edges.get(origin, ()):
                if kind in (None, edge.kind) and not edge.path & unwanted:
                    yield edge


#: For each origin, the paths by which it reaches a tensor; none within another.
Trails = dict[int, tuple[int, ...]]


def merged(trails: Iterable[Trails], bit: int) -> Trails:
    """What reaches the result of an operator of the kind `bit` from its inputs."""
    out: Trails = {}
    for one in trails:
        for origin, paths in one.items():
            longer = tuple(path | bit for path in paths)
            before = out.get(origin, ())
            out[origin] = longer if len(longer) == 1 and not before else _least({*longer, *before})
    return out


def _least(paths: set[int]) -> tuple[int, ...]:
    """Those within which no other lies; at most four, the shortest."""
    if len(paths) == 1:
        return tuple(paths)
    kept: list[int] = []
    for path in sorted(paths, key=lambda path: (path.bit_count(), path)):
        if not any(other & path == other for other in kept):
            kept.append(path)
    return tuple(kept[:4])
