"""Processes that share a tensor share its mask; those that share a batch do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "support" / "support_shards.py"


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_draw_the_bits_of_the_whole(world: int, tmp_path: Path) -> None:
    """Rows, columns, squares and replicas of 1, 2 and 4 processes: see the script's checks."""
    command = [sys.executable, str(SCRIPT)]
    group = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(tmp_path / "meet")],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=120)[1] for process in group]
    assert [0] * world == [process.returncode for process in group], errors
