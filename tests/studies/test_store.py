"""A study's file: what is in it survives, comes back to the bit, and belongs to one study."""

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dropkit.errors import OptionError, StoreError
from dropkit.studies.plan import Arm
from dropkit.studies.result import TrialRecord
from dropkit.studies.store import Store, opened_to_read, read_design, read_records
from dropkit.studies.study import Study
from dropkit.studies.trial import Point
from support_fits import seeds_fit, told_fit

ARMS = (Arm("none"), Arm("half", rates=0.5))
DESIGN = {"seed": 3, "arms": ["none", "half"]}
RUN = """
import sys
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from support_fits import told_fit

if __name__ == "__main__":
    arms = [Arm("none"), Arm("half", rates=0.5)]
    Study(told_fit, arms, replicates=3, metric="loss", workers=int(sys.argv[2]), db=sys.argv[1]).run()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A user's own script; a file, so that worker processes can import its parts."""
    path = tmp_path / "script.py"
    path.write_text(RUN, encoding="utf-8")
    return path


def start(script: Path, db: Path, workers: int) -> subprocess.Popen[str]:
    """The script in a process of its own, whose stdout says what its trials do."""
    support = Path(__file__).parent.parent / "support"
    return subprocess.Popen(
        [sys.executable, str(script), str(db), str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(support), "OMP_NUM_THREADS": "1"},
    )


def kept(db: Path) -> dict[tuple[int, str], tuple[object, ...]]:
    """All that a file holds of ended trials, but for how long they took."""
    with opened_to_read(db) as database:
        found = read_records(database)
    return {(r.replicate, r.arm): (r.metrics, r.points, r.error) for r in found}


@pytest.mark.parametrize(
    ("workers", "steps"), [(0, 6), (0, 13), pytest.param(2, 7, marks=pytest.mark.long)]
)
def test_killed_study_goes_on_where_it_stopped(script, tmp_path, workers, steps) -> None:
    """After kill -9 amid a trial, the same command ends with the numbers of a whole run.

    What had ended is not run again, and what was cut off leaves no trace.
    """
    whole = Study(told_fit, ARMS, replicates=3, metric="loss").run()
    db = tmp_path / "study.db"
    running = start(script, db, workers)
    assert running.stdout is not None
    for line in running.stdout:
        steps -= line == "step\n"
        if not steps:
            break
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    before = set(kept(db))
    assert 0 < len(before) < 6
    said, errors = start(script, db, workers).communicate(timeout=120)
    assert "" == errors
    begun = [(int(k), arm) for _, arm, k in re.findall(r"(begin) (\w+) (\d)", said)]
    assert {(k, arm) for k in range(3) for arm in ("none", "half")} - before == set(begun)
    assert len(begun) == len(set(begun))
    expected = {(r.replicate, r.arm): (r.metrics, r.points, r.error) for r in whole.trials}
    assert expected == kept(db)


def test_ended_study_runs_nothing(tmp_path) -> None:
    """The same study again gives the same result from its file alone."""
    db = tmp_path / "study.db"
    first = Study(seeds_fit, ARMS, replicates=2, metric="loss", db=db).run()
    seen: list[TrialRecord] = []
    again = Study(_never, ARMS, replicates=2, metric="loss", db=db)
    again.fit.__qualname__ = seeds_fit.__qualname__
    second = again.run(seen.append)
    assert (first.trials, first.verdict) == (second.trials, second.verdict)
    assert 4 == len(seen)


def _never(_: object) -> dict[str, float]:
    raise AssertionError


def test_failed_trials_run_again_only_when_asked(tmp_path) -> None:
    """A failure is a result; `retry_failed` gives it another chance."""
    db, calls = tmp_path / "study.db", []

    def fit(trial):
        calls.append((trial.replicate, trial.arm.name))
        if len(calls) == 2:
            raise MemoryError("by chance")
        return {"loss": 1.0}

    study = Study(fit, ARMS, metric="loss", replicates=2, db=db)
    assert 1 == study.run().n_complete
    assert (1, 4) == (study.run().n_complete, len(calls))
    assert (2, 5) == (study.run(retry_failed=True).n_complete, len(calls))
    assert (0, "half") == calls[-1]


def test_numbers_come_back_to_the_bit(tmp_path) -> None:
    """Every float of a record is the same after a trip through the file, nan included."""
    numbers = {"a": 0.1 + 0.2, "b": 5e-324, "c": -0.0, "d": math.inf, "e": 1.7976931348623157e308}
    record = TrialRecord("none", 0, numbers, (Point(3, numbers),), 1.5, None)
    with closing(Store(tmp_path / "study.db", DESIGN)) as store:
        store.end(record)
        assert [record] == store.records()
        store.end(TrialRecord("half", 0, {"a": math.nan}, error="metrics are not finite: a"))
        assert math.isnan(store.records()[0].metrics["a"])


def test_reports_are_there_at_once(tmp_path) -> None:
    """Another process reads each report while the trial still runs."""
    db = tmp_path / "study.db"
    with closing(Store(db, DESIGN)) as store:
        store.begin(0, "none")
        store.report(0, "none", 0, Point(10, {"loss": 0.5}))
        with opened_to_read(db) as database:
            rows = database.execute("SELECT step, metrics FROM points").fetchall()
            assert [(10, '{"loss": 0.5}')] == rows
            assert [] == read_records(database)
            assert DESIGN == read_design(database)


def test_second_process_is_refused(tmp_path) -> None:
    """Two at one file: the second is told who holds it, and the first goes on."""
    db = tmp_path / "study.db"
    message = f"`{db}` is in use by process {os.getpid()}. Wait until it has ended, or end it."
    with closing(Store(db, DESIGN)) as store:
        with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
            Store(db, DESIGN)
        store.begin(0, "none")
    Store(db, DESIGN).close()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"seed": 1}, "seed"),
        ({"arms": (Arm("none"), Arm("half", rates=0.4))}, "arms"),
        ({"margin": 0.1, "seed": 2}, "seed and margin"),
        ({"replicates": 9}, "replicates"),
        ({"fit": told_fit}, "fit"),
    ],
)
def test_other_study_is_refused(tmp_path, changes, parts) -> None:
    """A changed design does not mix with what is there; the sentence names what changed."""
    db = tmp_path / "study.db"
    choices = {"fit": seeds_fit, "arms": ARMS, "replicates": 1, "metric": "loss", "db": db}
    Study(**choices).run()
    message = (
        f"`{db}` holds a study with other {parts}. Put them back, or give this study a file of "
        "its own."
    )
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        Study(**{**choices, **changes}).run()


def test_watched_study_may_be_given_more_replicates(tmp_path) -> None:
    """Its intervals hold at all looks, so that it may go on; and a title is no design."""
    db = tmp_path / "study.db"
    choices = {"metric": "loss", "until": "decided", "db": db}
    Study(told_fit, ARMS, replicates=1, **choices).run()
    more = Study(told_fit, ARMS, replicates=2, title="More", workers=0, **choices).run()
    assert 2 == more.n_complete


def test_other_files_are_refused(tmp_path) -> None:
    """What is no study's file, or one of another version, is left as it is."""
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and longer than its header would be" * 9, encoding="utf-8")
    message = f"`{text}` cannot be read as a study's file: file is not a database."
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        Store(text, DESIGN)
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.executescript("CREATE TABLE mine (x); PRAGMA user_version = 7;")
    database.close()
    message = (
        f"`{other}` must be a study's file of version 1; got version 7. Take another file, or the "
        "dropkit that wrote it."
    )
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        Store(other, DESIGN)
    message = f"`{tmp_path / 'none' / 'study.db'}` must lie in a folder that exists."
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        Store(tmp_path / "none" / "study.db", DESIGN)
    with pytest.raises(StoreError, match=r"does not exist\.$"), opened_to_read(tmp_path / "no.db"):
        pass


def test_timeout_needs_workers() -> None:
    """Nothing in this process can end what hangs in it."""
    message = (
        "`timeout_s` needs `workers` of at least 1, for nothing can end a trial that hangs in "
        "this process; got workers 0."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        Study(seeds_fit, ARMS, timeout_s=3.0)
