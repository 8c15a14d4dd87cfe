"""The trials of a study as tables for other programs: CSV or Parquet."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dropkit.core.files import write_text
from dropkit.errors import MissingExtraError, OptionError
from dropkit.studies.plan import Json
from dropkit.studies.result import TrialRecord
from dropkit.studies.store import opened_to_read, read_design, read_records

_KINDS = (".csv", ".parquet")

Rows = Sequence[Mapping[str, Any]]


def check_name(path: Path) -> None:
    """Refuse a name that says no kind of table.

    Raises:
        OptionError: It ends in neither ``.csv`` nor ``.parquet``.
    """
    if path.suffix not in _KINDS:
        raise OptionError(f"`--export` must end in .csv or .parquet; got {path.name!r}.")


def write_trials(db: Path, path: Path) -> tuple[Path, Path]:
    """Write a study's trials under `path`, and what they reported beside it.

    A trial is a row: arm, replicate, its choices (rates and model change as JSON), error, seconds,
    and each metric under its own name. A report is a row of the second table: arm, replicate,
    step, and its metrics. The study may be running.

    Args:
        db: The study's file.
        path: Ends in ``.csv`` or ``.parquet``; its folder must exist.

    Returns:
        Both files; the second has ``-reports`` in its name.

    Raises:
        StoreError: `db` is no study's file.
        OptionError: `path` has another ending.
        MissingExtraError: pyarrow, which writes Parquet, is not installed.
    """
    check_name(path)
    with opened_to_read(db) as database:
        design, records = read_design(database), read_records(database)
    arms = {arm["name"]: arm for arm in design["arms"]}
    reports = path.with_name(f"{path.stem}-reports{path.suffix}")
    _write([_trial(record, arms[record.arm]) for record in records], path)
    _write([row for record in records for row in _reports(record)], reports)
    return path, reports


def _trial(record: TrialRecord, arm: Mapping[str, Json]) -> dict[str, Any]:
    return {
        "arm": record.arm,
        "replicate": record.replicate,
        "rates": json.dumps(arm["rates"]),
        "weight_decay": float(arm["weight_decay"]),
        "model_change": json.dumps(arm["model_change"], sort_keys=True),
        "data_fraction": float(arm["data_fraction"]),
        "error": record.error,
        "wall_s": record.wall_s,
        **_named(record.metrics),
    }


def _reports(record: TrialRecord) -> list[dict[str, Any]]:
    return [
        {
            "arm": record.arm,
            "replicate": record.replicate,
            "step": point.step,
            **_named(point.metrics),
        }
        for point in record.points
    ]


def _named(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics under names that no other column has."""
    return {f"metric_{name}": value for name, value in metrics.items()}


def _write(rows: Rows, path: Path) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
        return
    try:
        import pyarrow as pa  # noqa: PLC0415 - belongs to an extra
        from pyarrow import parquet  # noqa: PLC0415 - likewise
    except ImportError as error:
        message = "Parquet needs pyarrow: pip install 'dropkit[parquet]'."
        raise MissingExtraError(message) from error
    parquet.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
