"""A lock on a file that dies with the process that holds it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dropkit.errors import StoreError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` for this process alone; the file beside it, ``.lock``, says who does.

    The system lets go of it however the process ends. The lock's file stays, for another process
    may be about to take it.

    Raises:
        StoreError: Another process holds it, or this system has no such locks.
    """
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError as error:
        raise StoreError(
            "a study's file needs a system with fcntl locks, such as Linux."
        ) from error
    # Kept open by this process only: a child that is spawned does not inherit it.
    file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "another one"
            raise StoreError(
                f"`{path}` is in use by process {holder}. Wait until it has ended, or end it."
            ) from error
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode("ascii"))
        yield
    finally:
        os.close(file)
