"""The JSON file holds every number and is JSON by the letter."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dropkit.reporting.json_file import write_json
from dropkit.studies.result import StudyResult

MakeResult = Callable[..., StudyResult]


def _refuse(constant: str) -> float:
    message = f"not JSON: {constant}"
    raise AssertionError(message)


def _read(path: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    return loaded


def test_file_holds_the_whole_result(make_result: MakeResult, tmp_path: Path) -> None:
    """What is read back equals `to_dict` where all numbers are finite."""
    result = make_result()
    write_json(result, tmp_path / "result.json")
    expected = json.loads(json.dumps(result.to_dict()))
    assert _read(tmp_path / "result.json") == expected


def test_numbers_that_json_lacks_become_null(make_result: MakeResult, tmp_path: Path) -> None:
    """The unbounded interval of one replicate and a nan are written as null."""
    result = make_result(1, about={"lost": math.nan, "kept": np.float32(0.5), "n": np.int64(3)})
    write_json(result, tmp_path / "result.json")
    document = _read(tmp_path / "result.json")
    estimate = document["differences"][0]["estimate"]  # type: ignore[index]
    assert (estimate["low"], estimate["high"]) == (None, None)
    assert document["about"] == {"lost": None, "kept": 0.5, "n": 3}


def test_text_is_indented_by_two(make_result: MakeResult, tmp_path: Path) -> None:
    """The file is laid out for people, and ends in a line end."""
    write_json(make_result(), tmp_path / "result.json")
    text = (tmp_path / "result.json").read_text("utf-8")
    assert text.startswith('{\n  "title": "Dropout on a small question-answering model",\n')
    assert text.endswith("\n}\n")


def test_failed_write_keeps_the_old_file(
    make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the old file as it was, and no draft beside it."""

    def fail(_: int) -> None:
        raise OSError

    path = tmp_path / "result.json"
    path.write_text("old", "utf-8")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"^$"):
        write_json(make_result(), path)
    assert path.read_text("utf-8") == "old"
    assert os.listdir(tmp_path) == ["result.json"]  # noqa: PTH208 - names are all that is asked


def test_written_file_has_the_usual_mode(make_result: MakeResult, tmp_path: Path) -> None:
    """The file is as readable for others as any that the user makes."""
    usual = tmp_path / "usual"
    usual.touch()
    write_json(make_result(), tmp_path / "result.json")
    assert (tmp_path / "result.json").stat().st_mode == usual.stat().st_mode
