"""``dropkit study`` as a user runs it, on a file of their own."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest

from dropkit.cli._target import load
from dropkit.errors import MissingExtraError, OptionError, StoreError
from dropkit.reporting.trials_file import write_trials
from dropkit.studies.study import Study

MINE = """
import os
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study

def fit(trial):
    with open("begun.txt", "a") as file:
        print(trial.arm.name, trial.replicate, file=file)
    for step in range(2):
        trial.report(step, loss=1.0 / (step + 1))
    if trial.arm.name == "half" and trial.replicate == 1:
        raise ValueError("unlucky")
    return {"loss": 1.0 + 0.1 * trial.replicate - trial.arm.rates}

mine = Study(
    fit, [Arm("none"), Arm("half", rates=0.5, model_change={"width": 8})],
    metric="loss", replicates=4, title="Mine",
)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A user's study."""
    path = tmp_path / "my_study.py"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_study_runs_goes_on_and_exports(dropkit, file: Path, tmp_path: Path) -> None:
    """One command from a file to page, JSON and table; the same again runs nothing anew."""
    done = dropkit("study", file, "--workers", "1", "--replicates", "2", cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert "Trial failed: half, replicate 2: ValueError: unlucky" in done.stdout
    report = json.loads((tmp_path / "my_study.json").read_text(encoding="utf-8"))
    assert ("Mine", 1, 4) == (report["title"], report["n_complete"], len(report["trials"]))
    assert "Mine" in (tmp_path / "my_study.html").read_text(encoding="utf-8")
    arguments = ("--workers", "0", "--replicates", "2", "--export", "t.csv")
    again = dropkit("study", "my_study:mine", *arguments, cwd=tmp_path)
    assert (0, "") == (again.returncode, again.stderr)
    assert 4 == len((tmp_path / "begun.txt").read_text(encoding="utf-8").splitlines())
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert ["0", "0", "1", "1"] == [row["replicate"] for row in rows]
    assert ("half", '{"width": 8}', "0.5", "") == tuple(
        rows[0][name] for name in ("arm", "model_change", "metric_loss", "error")
    )
    assert ("ValueError: unlucky", "") == (rows[2]["error"], rows[2]["metric_loss"])
    refused = dropkit("study", file, cwd=tmp_path)
    assert (2, "") == (refused.returncode, refused.stdout.partition("\n")[2])
    assert refused.stderr == (
        "dropkit: `my_study.db` holds a study with other replicates. Put them back, or give this "
        "study a file of its own.\n"
    )


SEARCH = """
from dropkit.studies.search import Search
from dropkit.studies.space import Between

def fit(trial):
    with open("begun.txt", "a") as file:
        print(trial.arm.name, trial.replicate, file=file)
    if trial.arm.name.startswith("candidate 2"):
        raise ValueError("unlucky")
    rate = trial.arm.highest_rate
    return {"loss": (rate - 0.3) ** 2 + trial.seed("split") / 2**63 + rate * trial.seed("noise") / 2**80}

mine = Search(
    fit, Between(0.01, 0.6), candidates=3, search_replicates=2, metric="loss", replicates=4
)
"""


def test_search_runs_and_goes_on(dropkit, tmp_path: Path) -> None:
    """A file with a search runs like one with a study: candidates, what was found, the verdict."""
    (tmp_path / "mine.py").write_text(SEARCH, encoding="utf-8")
    done = dropkit("study", "mine.py", "--workers", "0", cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    said = re.findall(r"(?m)^candidate (\d): [\d.]+: (.*)$", done.stdout)
    assert ["1", "2", "3"] == [number for number, _ in said]
    assert "failed" == said[1][1]
    assert re.search(r"(?m)^Found: 0\.\d+\. It is tested on fresh replicates\.$", done.stdout)
    assert "other replicates. None of these counts here" in " ".join(
        done.stdout.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split()
    )
    again = dropkit("study", "mine.py", "--workers", "0", cwd=tmp_path)
    assert said == re.findall(r"(?m)^candidate (\d): [\d.]+: (.*)$", again.stdout)
    assert 3 * 2 + 2 * 4 == len((tmp_path / "begun.txt").read_text(encoding="utf-8").splitlines())


def test_parquet_has_the_numbers(tmp_path: Path) -> None:
    """A Parquet table holds what the file holds; an absent metric is null."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    study = _study(tmp_path)
    trials, reports = write_trials(study.db, tmp_path / "t.parquet")
    table = parquet.read_table(trials).to_pydict()
    assert [0.5, 1.0, None, 1.1] == table["metric_loss"][:4]
    assert [0, 1] * 8 == parquet.read_table(reports).to_pydict()["step"]


def _study(folder: Path) -> Study:
    """The user's study, run here."""
    names: dict[str, object] = {"__name__": "mine"}
    exec(MINE.replace('"begun.txt"', repr(str(folder / "begun.txt"))), names)
    study = names["mine"]
    assert isinstance(study, Study)
    study.db = folder / "mine.db"
    study.run()
    return study


def test_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    """Without pyarrow the error says what to install."""
    study = _study(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = "Parquet needs pyarrow: pip install 'dropkit[parquet]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        write_trials(study.db, tmp_path / "t.parquet")
    message = "`--export` must end in .csv or .parquet; got 't.xlsx'."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        write_trials(study.db, tmp_path / "t.xlsx")
    message = f"`{tmp_path / 'none.db'}` does not exist."
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        write_trials(tmp_path / "none.db", tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        ("none.py", None, "`none.py` does not exist."),
        (
            "no.such.module",
            None,
            "`no.such.module` must be a Python file or module; there is none.",
        ),
        ("json.py", "", "`json.py` has the name of another module, 'json'. Rename it."),
        (
            "bad_a.py",
            "1 + 1\nx = 1 / 0",
            "`bad_a.py` line 2 raised ZeroDivisionError: division by zero.",
        ),
        (
            "bad_b.py",
            "import nowhere_at_all",
            "`bad_b.py` line 1 raised ModuleNotFoundError: No module named 'nowhere_at_all'.",
        ),
        ("bad_c.py", "", "`bad_c.py` must have one Study at its top level; got none."),
        (
            "bad_d.py",
            MINE + "\nother = Study(fit, [Arm('a'), Arm('b')])",
            "`bad_d.py` must have one Study at its top level; got mine, other. Name one: "
            "bad_d.py:mine.",
        ),
        ("bad_e.py:fit", MINE, "`fit` in `bad_e.py` is no dropkit Study."),
        ("bad_f.py:x", MINE, "`x` in `bad_f.py` does not exist: it must be a dropkit Study."),
    ],
)
def test_target_that_is_no_study(target, text, message, tmp_path, monkeypatch) -> None:
    """What cannot be run is said in a sentence, with the line where the user's code failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if text is not None:
        Path(target.partition(":")[0]).write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        load(target, Study)


def test_help_says_that_it_runs_code(dropkit, tmp_path: Path) -> None:
    """The help warns that the file's code is run, and says that a study goes on."""
    done = dropkit("study", "--help", cwd=tmp_path)
    assert 0 == done.returncode
    said = " ".join(done.stdout.split())
    assert "This runs your code" in said
    assert "the same command goes on from there" in said
