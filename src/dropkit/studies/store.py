"""A study in a SQLite file: every report is there before the next one is made."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from dropkit.errors import StoreError
from dropkit.studies.lock import locked
from dropkit.studies.plan import Json
from dropkit.studies.result import TrialRecord
from dropkit.studies.trial import Point
from dropkit.studies.words import listed

#: Raised with every change of the tables below; kept in the file's ``user_version``.
SCHEMA = 1

_TABLES = """
CREATE TABLE design (part TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
    replicate INTEGER NOT NULL,
    arm TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    metrics TEXT NOT NULL DEFAULT '{}',
    error TEXT,
    wall_s REAL,
    PRIMARY KEY (replicate, arm)
);
CREATE TABLE points (
    replicate INTEGER NOT NULL,
    arm TEXT NOT NULL,
    position INTEGER NOT NULL,
    step INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    PRIMARY KEY (replicate, arm, position)
);
"""

_PUT_POINT = "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)"


class Store:
    """The file of one study, written by one process; numbers come back to the bit.

    Args:
        path: Made where it does not exist; its folder must.
        design: What the study is, part by part, as JSON can write it. A file that holds another
            design is refused.

    Raises:
        StoreError: Another process, another study or another version of dropkit holds the file,
            or it is no such file.
    """

    def __init__(self, path: Path, design: Mapping[str, Json]) -> None:
        self.path = path
        self._stack = contextlib.ExitStack()
        if not path.parent.is_dir():
            raise StoreError(f"`{path}` must lie in a folder that exists.")
        with self._stack:
            self._stack.enter_context(locked(path))
            self._database = sqlite3.connect(path, isolation_level=None)
            self._stack.callback(self._database.close)
            with _readable(path):
                self._open(design)
            self._stack = self._stack.pop_all()

    def close(self) -> None:
        """Let go of the file."""
        self._stack.close()

    def records(self) -> list[TrialRecord]:
        """The trials that ended, well or not."""
        return read_records(self._database)

    def begin(self, replicate: int, arm: str) -> None:
        """A trial begins: what an earlier attempt reported is gone."""
        with self._transaction():
            self._database.execute(
                "DELETE FROM points WHERE replicate = ? AND arm = ?", (replicate, arm)
            )
            self._database.execute(
                "INSERT OR REPLACE INTO trials (replicate, arm, state) VALUES (?, ?, 'running')",
                (replicate, arm),
            )

    def report(self, replicate: int, arm: str, position: int, point: Point) -> None:
        """It reported `point`, its `position`-th."""
        self._database.execute(_PUT_POINT, _row(replicate, arm, position, point))

    def end(self, record: TrialRecord) -> None:
        """It ended."""
        state = "done" if record.error is None else "failed"
        with self._transaction():
            self._database.executemany(
                _PUT_POINT,
                [
                    _row(record.replicate, record.arm, position, point)
                    for position, point in enumerate(record.points)
                ],
            )
            self._database.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.replicate,
                    record.arm,
                    state,
                    json.dumps(dict(record.metrics)),
                    record.error,
                    record.wall_s,
                ),
            )

    def forget_failed(self) -> None:
        """Let the trials that failed be run again."""
        self._forget("failed")

    def _open(self, design: Mapping[str, Json]) -> None:
        # Write-ahead log: others may read while this process writes, and a process that is killed
        # leaves whole transactions only.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        check_schema(self._database, self.path, may_be_new=True)
        if self._database.execute("PRAGMA user_version").fetchone()[0] == 0:
            with self._transaction():
                for statement in _TABLES.split(";")[:-1]:
                    self._database.execute(statement)
                self._database.executemany(
                    "INSERT INTO design VALUES (?, ?)",
                    [(part, _written(value)) for part, value in design.items()],
                )
                self._database.execute(f"PRAGMA user_version = {SCHEMA}")
        self._check_design(design)
        self._forget("running")  # cut off: nobody else can hold the file

    def _check_design(self, design: Mapping[str, Json]) -> None:
        held = dict(self._database.execute("SELECT part, value FROM design"))
        ours = {part: _written(value) for part, value in design.items()}
        other = [part for part in {**ours, **held} if ours.get(part) != held.get(part)]
        if other:
            named = listed([part.replace("_", " ") for part in other])
            raise StoreError(
                f"`{self.path}` holds a study with other {named}. Put them back, or give "
                "this study a file of its own."
            )

    def _forget(self, state: str) -> None:
        with self._transaction():
            self._database.execute(
                "DELETE FROM points WHERE (replicate, arm) IN "
                "(SELECT replicate, arm FROM trials WHERE state = ?)",
                (state,),
            )
            self._database.execute("DELETE FROM trials WHERE state = ?", (state,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


@contextlib.contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """The file of a study, which may be running, for reading alone.

    Raises:
        StoreError: It does not exist, or is no such file.
    """
    if not path.is_file():
        raise StoreError(f"`{path}` does not exist.")
    with contextlib.closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    ) as database:
        with _readable(path):
            check_schema(database, path, may_be_new=False)
        yield database


def read_records(database: sqlite3.Connection) -> list[TrialRecord]:
    """The trials of a study that ended, replicate by replicate."""
    points: dict[tuple[int, str], list[Point]] = {}
    for replicate, arm, step, metrics in database.execute(
        "SELECT replicate, arm, step, metrics FROM points ORDER BY replicate, arm, position"
    ):
        points.setdefault((replicate, arm), []).append(Point(step, json.loads(metrics)))
    return [
        TrialRecord(
            arm,
            replicate,
            json.loads(metrics),
            tuple(points.get((replicate, arm), ())),
            wall_s,
            error,
        )
        for replicate, arm, metrics, error, wall_s in database.execute(
            "SELECT replicate, arm, metrics, error, wall_s FROM trials "
            "WHERE state != 'running' ORDER BY replicate, arm"
        )
    ]


def read_design(database: sqlite3.Connection) -> dict[str, Json]:
    """What the study is, part by part."""
    rows = database.execute("SELECT part, value FROM design")
    return {part: json.loads(value) for part, value in rows}


def check_schema(database: sqlite3.Connection, path: Path, *, may_be_new: bool) -> None:
    """Refuse a file of another program, or of another version of these tables."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    is_empty = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == SCHEMA or (may_be_new and version == 0 and is_empty):
        return
    raise StoreError(
        f"`{path}` must be a study's file of version {SCHEMA}; got version {version}. "
        "Take another file, or the dropkit that wrote it."
    )


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(f"`{path}` cannot be read as a study's file: {error}.") from error


def _row(replicate: int, arm: str, position: int, point: Point) -> tuple[int, str, int, int, str]:
    return replicate, arm, position, point.step, json.dumps(dict(point.metrics))


def _written(value: Json) -> str:
    return json.dumps(value, sort_keys=True)
