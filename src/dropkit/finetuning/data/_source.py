"""The records of whatever a path leads to: a text file, Parquet, or a folder of a dataset."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from dropkit.errors import DataError, MissingExtraError
from dropkit.finetuning.data._lines import text_records
from dropkit.finetuning.data._refusals import Record

_ENDINGS = (".jsonl", ".ndjson", ".csv", ".parquet")
_PARQUET = b"PAR1"  # its first four bytes
# The names of parts in files as the Hugging Face hub has them: train-00000-of-00001.parquet.
_PART = re.compile(r"(?<![a-z])(train|validation|valid|dev|eval|test)(?:ing)?(?![a-z])")


def records(path: str | Path) -> Iterator[Record]:
    """The records of `path`, in order; what it is, its content says.

    Raises:
        DataError: It does not exist or cannot be read, or it is a folder without data or with
            several parts, such as train and test.
        MissingExtraError: Parquet and dataset folders need the extra ``finetune``.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _folder_records(path)
        return _file_records(path, path.name)
    except FileNotFoundError as error:
        raise DataError(f"`{path}` does not exist.") from error
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def _file_records(path: Path, name: str) -> Iterator[Record]:
    with path.open("rb") as file:
        is_parquet = file.read(len(_PARQUET)) == _PARQUET
    return _parquet_records(path, name) if is_parquet else text_records(path, name)


def _folder_records(folder: Path) -> Iterator[Record]:
    if (folder / "dataset_dict.json").is_file():
        parts = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        usual = "train" if "train" in parts else "".join(parts[:1])
        _refuse_parts(folder, parts, f"one, such as `{folder / usual}`")
        folder = folder / parts[0] if parts else folder
    if (folder / "state.json").is_file():
        return _saved_records(folder)
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _ENDINGS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not files:
        raise DataError(
            f"`{folder}` must hold a dataset: *.jsonl, *.csv or *.parquet files, or what "
            "`save_to_disk` of the package datasets writes; got none of them."
        )
    names = {file: file.relative_to(folder).as_posix() for file in files}
    parts = sorted({found[1] for name in names.values() if (found := _PART.search(name.lower()))})
    _refuse_parts(folder, parts, "a file, or a folder with one of them")
    return chain.from_iterable([_file_records(file, names[file]) for file in files])


def _refuse_parts(folder: Path, parts: list[str], instead: str) -> None:
    if len(parts) > 1:
        raise DataError(
            f"`{folder}` must hold one part of a dataset; got {', '.join(parts)}. Name {instead}."
        )


def _saved_records(folder: Path) -> Iterator[Record]:
    datasets = _datasets()
    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever a half-written folder raises
        raise DataError(f"`{folder}` cannot be read as a dataset: {_first_line(error)}.") from error
    return _rows(dataset, dataset.features, folder.name, 1)


def _parquet_records(path: Path, name: str) -> Iterator[Record]:
    datasets = _datasets()
    from pyarrow import ArrowException, parquet  # noqa: PLC0415 - comes with datasets

    try:
        file = parquet.ParquetFile(path)
        features = datasets.Features.from_arrow_schema(file.schema_arrow)
        number = 1
        for batch in file.iter_batches():
            yield from _rows(batch.to_pylist(), features, name, number)
            number += batch.num_rows
    except (ArrowException, OSError) as error:
        raise DataError(f"`{path}` cannot be read as Parquet: {_first_line(error)}.") from error


def _rows(rows: Any, features: Any, name: str, first: int) -> Iterator[Record]:
    """Rows with the names of their classes, where the dataset keeps these as numbers."""
    names = {key: kind.names for key, kind in features.items() if hasattr(kind, "int2str")}
    for number, row in enumerate(rows, first):
        fields = dict(row)
        for key, classes in names.items():
            value = fields[key]
            # The hub's mark for "no label" is -1.
            fields[key] = None if value is None or value < 0 else classes[value]
        yield Record(f"{name}:{number}", fields)


def _datasets() -> Any:
    try:
        import datasets  # noqa: PLC0415 - in an extra
    except ImportError as error:
        message = "a dataset folder or Parquet needs datasets: pip install 'dropkit[finetune]'."
        raise MissingExtraError(message) from error
    return datasets


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].rstrip(".")
