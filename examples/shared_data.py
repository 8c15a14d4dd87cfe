"""Where the examples look for data that no package brings."""

import os
from pathlib import Path

from dropkit.errors import DataError

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


def find(name: str) -> Path:
    """The file `name` in the folder of the environment variable DROPKIT_DATA.

    Without that variable it is ``../shared/data``, seen from the repository's root.

    Raises:
        DataError: There is no such file.
    """
    path = Path(os.environ.get("DROPKIT_DATA", FOLDER)) / name
    if not path.is_file():
        raise DataError(
            f"the data must lie at {str(path)!r}; there is none. Set DROPKIT_DATA to the folder "
            f"that holds {name}."
        )
    return path
