"""The model as a chain from input to output: each site a station."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dropkit.core.estimate import Estimate
from dropkit.reporting._trace_risk import level_of
from dropkit.tracing.result import SiteTrace, Trace

#: Up to so many stations have their names written below them.
_NAMED = 24


@dataclass(frozen=True)
class Frame:
    """Size of a chain and the edges of its plot, in SVG units."""

    width: int = 1032
    left: int = 58
    right: int = 1010
    top: int = 18
    bottom: int = 218
    height: int = 250


@dataclass(frozen=True)
class Tick:
    """A line across, and its share."""

    y: float
    text: str


@dataclass(frozen=True)
class Station:
    """One site.

    Attributes:
        x: Its place.
        y: Where its leverage is.
        low: Lower end of the interval; `high` the upper one.
        high: See `low`.
        width: Of its stem, by its share of the step's time.
        radius: Of its head.
        level: Of risk.
        label: Name and numbers in words.
        anchor: Of its numbers on the page.
        name: Below it, where there is room; else empty.
        is_open: Whether the interval runs on beyond the picture.
    """

    x: float
    y: float
    low: float
    high: float
    width: float
    radius: float
    level: str
    label: str
    anchor: str
    name: str
    is_open: bool


@dataclass(frozen=True)
class Group:
    """A part of the model that neighbouring stations are in: ends, middle and name."""

    start: float
    end: float
    middle: float
    name: str


@dataclass(frozen=True)
class Chain:
    """One picture.

    Attributes:
        title: What the height shows.
        frame: Its measures.
        ticks: Across.
        stations: In the order the data meets them.
        groups: Below them, where their names are not.
        summary: The picture in a sentence.
    """

    title: str
    frame: Frame
    ticks: tuple[Tick, ...]
    stations: tuple[Station, ...]
    groups: tuple[Group, ...]
    summary: str


def cost_of(row: SiteTrace, trace: Trace) -> float | None:
    """Share of a step's wall time that a site takes on dropkit's kernels."""
    forward, backward = trace.forward_ms["dropkit"], trace.backward_ms["dropkit"]
    if row.forward_share is None or not forward + backward:
        return None
    spent = row.forward_share * forward + (row.backward_share or 0.0) * backward
    return spent / (forward + backward)


def view_chain(
    trace: Trace,
    title: str,
    height_of: Callable[[SiteTrace], Estimate | None],
    *,
    has_names: bool = True,
) -> Chain | None:
    """The chain of a trace; None where no site has such a height."""
    if not any(height_of(row) for row in trace.sites):
        return None
    n = len(trace.sites)
    is_long = n > _NAMED
    longest = max(len(_short(row.site.name)) for row in trace.sites) if has_names else 0
    frame = Frame(height=282 if is_long else 250 + (round(22 + 4.2 * longest) if longest else 0))
    step = (frame.right - frame.left) / max(n, 1)
    peak = max(height.value for row in trace.sites if (height := height_of(row)))
    top = min(max(peak * 1.15, 0.02), 1.0)

    def place(share: float) -> float:
        up = math.sqrt(min(max(share, 0.0), top) / top)
        return round(frame.bottom - up * (frame.bottom - frame.top), 2)

    stations = []
    for at, row in enumerate(trace.sites):
        height = height_of(row) or Estimate(0.0, 0.0, 0.0)
        cost = cost_of(row, trace)
        weight = math.sqrt(cost or 0.0)
        stations.append(
            Station(
                x=round(frame.left + (at + 0.5) * step, 2),
                y=place(height.value),
                low=place(height.low),
                high=place(height.high),
                width=round(min(1.5 + 40.0 * weight, max(0.72 * step, 1.0), 26.0), 2),
                radius=round(min(7.0, max(0.42 * step, 2.2)), 2),
                level=level_of(row),
                label=f"{row.site.name}: {_share(height)}"
                + (f", {cost:.1%} of a step's time" if cost is not None else "")
                + f", risk {level_of(row)}",
                anchor=f"site-{at}",
                name=_short(row.site.name) if has_names and not is_long else "",
                is_open=height.high > top,
            )
        )
    return Chain(
        title=title,
        frame=frame,
        ticks=tuple(Tick(place(share), f"{share:.3g}") for share in _shares(top)),
        stations=tuple(stations),
        groups=_groups(trace.sites, frame, step) if is_long else (),
        summary=_summary(trace.sites, height_of),
    )


def _share(height: Estimate) -> str:
    return f"{height.value:.3f} ({height.low:.3f} to {height.high:.3f})"


def _short(name: str) -> str:
    """The end of a name, which tells most."""
    return name if len(name) <= 27 else f"\N{HORIZONTAL ELLIPSIS}{name[-26:]}"


def _shares(top: float) -> list[float]:
    """Round shares below `top`, further apart where the root of shares is dense."""
    known = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
    return [share for share in known if share == 0.0 or 0.04 * top < share <= top]


def _groups(rows: Sequence[SiteTrace], frame: Frame, step: float) -> tuple[Group, ...]:
    """Neighbours whose names begin alike, up to a number in them."""
    found: list[tuple[str, int, int]] = []
    for at, row in enumerate(rows):
        parts = row.site.name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts) - 2)
        name = ".".join(parts[: max(number + 1, 1)])
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], at)
        else:
            found.append((name, at, at))
    named, free = [], float(frame.left)
    for name, first, last in found:
        start, end = frame.left + first * step + 1.0, frame.left + (last + 1) * step - 1.0
        middle = (start + end) / 2
        tail = name.rpartition(".")[2]
        shown = name if len(name) * 6.5 <= end - start else tail
        if middle - 3.3 * len(shown) < free:  # would be written over the last one
            shown = ""
        else:
            free = middle + 3.3 * len(shown) + 8.0
        named.append(Group(round(start, 2), round(end, 2), round(middle, 2), shown))
    return tuple(named)


def _summary(rows: Sequence[SiteTrace], height_of: Callable[[SiteTrace], Estimate | None]) -> str:
    known = [(row, height) for row in rows if (height := height_of(row))]
    row, height = max(known, key=lambda pair: pair[1].value)
    return f"{len(rows)} sites. Most leverage has {row.site.name}: {_share(height)}."
