"""What answers looked like at the release: counts in bins, kept as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dropkit.core.files import write_text
from dropkit.errors import DataError
from dropkit.serving.monitoring._counts import EDGES

_FORMAT, _VERSION = "dropkit service baseline", 1


@dataclass(frozen=True)
class Baseline:
    """Counts by quantity, over the bins of `EDGES`.

    Attributes:
        counts: ``{quantity: (n of the first bin, ...)}``.
        repeats: Requests that were answered twice.
        differing: Of them those with two different answers.
    """

    counts: Mapping[str, tuple[int, ...]]
    repeats: int = 0
    differing: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Counts and bins, with the format's name and version."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "edges": {of: list(EDGES[of]) for of in self.counts},
            "counts": {of: list(counts) for of, counts in self.counts.items()},
            "repeats": self.repeats,
            "differing": self.differing,
        }

    def save(self, path: str | Path) -> None:
        """Write it as JSON, in one step.

        Raises:
            OSError: The folder is missing or cannot be written.
        """
        write_text(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` has written.

        Raises:
            DataError: It is no baseline, or one with other bins.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text("utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"the baseline {str(path)!r} cannot be read: {error}") from error

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """What `to_dict` gave.

        Raises:
            DataError: `data` is nothing that `to_dict` gives.
        """
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise DataError(f"it must have the format {_FORMAT!r}.")
        if data.get("version") != _VERSION:
            raise DataError(f"it must be of version {_VERSION}; got {data.get('version')!r}.")
        counts = data.get("counts")
        if not isinstance(counts, Mapping) or not counts:
            raise DataError(f"`counts` must be a table of counts by quantity; got {counts!r}.")
        edges = data.get("edges")
        for of, values in counts.items():
            if (
                of not in EDGES
                or not isinstance(edges, Mapping)
                or edges.get(of) != list(EDGES[of])
            ):
                raise DataError(
                    f"the bins of {of!r} are others than this version's: record it again."
                )
            if not _are_counts(values, len(EDGES[of]) + 1):
                raise DataError(f"`counts` of {of!r} must be {len(EDGES[of]) + 1} whole numbers.")
        repeated: list[Any] = [data.get("repeats"), data.get("differing")]
        if not _are_counts(repeated, 2) or repeated[1] > repeated[0]:
            raise DataError(
                f"`differing` must be at most `repeats`, whole numbers both; got {repeated!r}."
            )
        return cls({of: tuple(values) for of, values in counts.items()}, *repeated)


def _are_counts(values: Any, n: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == n
        and all(type(value) is int and value >= 0 for value in values)
    )
