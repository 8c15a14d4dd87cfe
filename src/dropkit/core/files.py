"""Write a file whole or not at all."""

import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Put `text` under `path` in one step; a reader sees the old file or the new one, no mixture.

    Args:
        path: Where to; its folder must exist. A file that is already there is replaced.
        text: Written as UTF-8 with Unix line ends on every system.

    Raises:
        OSError: The folder is missing or cannot be written; `path` is as it was before.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` under `path` likewise.

    Raises:
        OSError: As `write_text`.
    """
    # Not tempfile: its files are private to the user, and a report is to have the usual mode.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
