"""What the tests of commands share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def dropkit() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, outside a terminal."""

    def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dropkit", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run
