"""The records of a text file: JSON lines, or CSV. Which of them it is, its content says."""

import codecs
import csv
import json
from collections.abc import Iterator
from pathlib import Path

from dropkit.errors import DataError
from dropkit.finetuning.data._refusals import Record, Refused, lines_of, taken

_JSON_ENDINGS = (".jsonl", ".ndjson")
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def text_records(path: Path, name: str) -> Iterator[Record]:
    """The records of the UTF-8 file `path`, which errors and places call `name`.

    A byte-order mark at its beginning is no part of it, nor are lines of white space.

    Raises:
        DataError: It is in another encoding, one JSON array, or CSV that cannot be taken apart.
    """
    content = path.read_bytes()
    for mark, encoding in _OTHER_MARKS:
        if content.startswith(mark):
            raise DataError(f"`{path}` must be UTF-8; got {encoding}. Save it as UTF-8.")
    content = content.removeprefix(codecs.BOM_UTF8)
    first = content.lstrip()[:1]
    if first == b"[":
        raise DataError(
            f"`{path}` must hold one JSON object a line; got one array. Write a line for each "
            "element, as `jq -c '.[]'` does."
        )
    if first == b"{" or path.suffix.lower() in _JSON_ENDINGS:
        return _json_records(content, name)
    return _csv_records(content, path, name)


def _json_records(content: bytes, name: str) -> Iterator[Record]:
    for record in _decoded(content, name):
        if record.fields is not None and not record.text.strip():
            continue
        try:
            fields = None if record.fields is None else _json_fields(record.text)
            yield Record(record.where, fields, record.reason, record.text.strip())
        except Refused as error:
            yield Record(record.where, None, str(error), record.text.strip())


def _decoded(content: bytes, name: str) -> list[Record]:
    """Each line with its text; without fields where it is no text."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    records = []
    for number, line in enumerate(lines, 1):
        reason = ""
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            text = line.decode("utf-8", errors="replace")
            reason = f"is not UTF-8: byte 0x{line[error.start]:02x}"
        if "\0" in text:
            reason = "holds NUL bytes"
        elif text.startswith("\ufeff"):
            reason = "begins with a byte-order mark, which only a file's first line may"
        records.append(Record(f"{name}:{number}", None if reason else {}, reason, text))
    return records


def _text(record: Record) -> str:
    record.present()
    return record.text


def _json_fields(text: str) -> dict[str, object]:
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Refused(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise Refused("is nested too deep") from error
    except ValueError as error:  # Python's limit on the digits of an integer
        raise Refused("has an integer of too many digits") from error
    if not isinstance(value, dict):
        raise Refused("is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Refused(f"has the key {twice!r} twice")
    return fields


def _csv_records(content: bytes, path: Path, name: str) -> Iterator[Record]:
    # A line that cannot be decoded leaves no sure place for the cells after it.
    lines = taken(_decoded(content, name), _text, Record.told, lines_of(str(path)))
    reader = csv.reader([f"{line}\n" for line in lines], strict=True)
    begin, header = 0, None
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = f"is not CSV: {error}; nothing after it was looked at"
            yield Record(f"{name}:{begin}", None, reason, lines[begin - 1])
            return
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [cell.strip() for cell in row]
            twice = sorted({cell for cell in header if header.count(cell) > 1})
            if twice:
                raise DataError(f"`{path}` must name each column once; got {twice[0]!r} twice.")
            continue
        where, text = f"{name}:{begin}", ",".join(row)
        if len(row) != len(header):
            cells = "cell" if len(row) == 1 else "cells"
            reason = f"has {len(row)} {cells} for {len(header)} columns"
            yield Record(where, None, reason, text)
        else:
            yield Record(where, dict(zip(header, row, strict=True)), text=text)
