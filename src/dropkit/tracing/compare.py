"""Two recorded runs beside each other."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dropkit.errors import DataError
from dropkit.tracing.recorder import VERSION

#: The share of records, at the end of a run, that numbers are means over.
_TAIL = 0.5


@dataclass(frozen=True)
class Contrast:
    """One number of one site in two runs: means over the later half of the records.

    Attributes:
        site: Its name; empty for a number of the whole run.
        number: Which.
        a: In the first run; None where it has none.
        b: In the second.
    """

    site: str
    number: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """``b - a``."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def relative(self) -> float | None:
        """The difference over the larger of the two sizes, in [-2, 2]."""
        if self.a is None or self.b is None:
            return None
        size = max(abs(self.a), abs(self.b))
        return (self.b - self.a) / size if size else 0.0


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Attributes:
        contrasts: Site by site in the first run's order, the whole run's numbers first.
        only_a: Sites that only the first run has.
        only_b: Sites that only the second has.
        steps: The last recorded step of each.
    """

    contrasts: tuple[Contrast, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    steps: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records that a `Recorder` has written to `path`.

    Raises:
        DataError: There is no such file, or it is none of a recorder's.
    """
    try:
        first, *rest = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"`{path}` must be a file that a Recorder has written.") from error
    if not isinstance(first, dict) or first.get("dropkit_records") != VERSION:
        raise DataError(f"`{path}` must be a file that a Recorder has written.")
    if not rest:
        raise DataError(f"`{path}` must hold a recorded step; it has none.")
    return rest


def compare_runs(a: Path, b: Path) -> Comparison:
    """Put two recorded runs beside each other.

    Args:
        a: The first run's file.
        b: The second's.

    Raises:
        DataError: One is no file that a recorder has written.
    """
    runs = read_records(a), read_records(b)
    means = [_means(run[int(len(run) * (1.0 - _TAIL)) :]) for run in runs]
    keys = [*means[0], *(key for key in means[1] if key not in means[0])]
    sites = [[*dict.fromkeys(site for site, _ in mean)] for mean in means]
    order = {site: at for at, site in enumerate([*sites[0], *sites[1]][::-1])}
    keys.sort(key=lambda key: -order[key[0]])
    return Comparison(
        tuple(Contrast(*key, means[0].get(key), means[1].get(key)) for key in keys),
        tuple(site for site in sites[0] if site not in sites[1]),
        tuple(site for site in sites[1] if site not in sites[0]),
        (runs[0][-1]["step"], runs[1][-1]["step"]),
    )


def _means(records: Sequence[dict[str, Any]]) -> dict[tuple[str, str], float]:
    values: dict[tuple[str, str], list[float]] = {}
    for record in records:
        for key, value in record.items():
            if key not in ("step", "sites") and value is not None:
                values.setdefault(("", key), []).append(value)
        for site, numbers in record["sites"].items():
            for key, value in numbers.items():
                if value is not None:
                    values.setdefault((site, key), []).append(value)
    return {key: statistics.fmean(found) for key, found in values.items()}
