"""The Triton kernel compiles for CUDA, to the code that was meant. No GPU is needed, none is used.

What the interpreter cannot see is read from the compiler's output: rounding, fusing, and how
often a block is drawn.
"""

import importlib.util
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "support/support_triton_compiled.py"
Compiled = dict[str, dict[str, Any]]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: pip install 'dropkit[triton]' (it is made for Linux).",
)

DTYPES = ["float32", "float64", "float16", "bfloat16"]
ALIGNED = [f"torch.{d}, aligned, {rows}" for d, rows in product(DTYPES, ["rows", "a run"])]
ODD = [f"torch.{d}, odd, {rows}" for d, rows in product(DTYPES, ["rows", "a run"])]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """What the compiler made of each variant, by name."""
    cache = {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)],
        env={**inherited, **cache},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return {(result := json.loads(line))["name"]: result for line in ran.stdout.splitlines()}


@pytest.mark.parametrize("name", ALIGNED)
def test_one_block_for_eight_elements(compiled: Compiled, name: str) -> None:
    """Where eight elements are one block, a program of 1024 elements draws 128 blocks."""
    assert [128] == compiled[name]["lanes of products"]


@pytest.mark.parametrize("name", ODD)
def test_the_count_of_blocks_can_differ(compiled: Compiled, name: str) -> None:
    """Elsewhere each element draws a block, and the count shows it."""
    assert [1024] == compiled[name]["lanes of products"]


@pytest.mark.parametrize("name", ALIGNED + ODD)
def test_rounds_as_the_twin_does(compiled: Compiled, name: str) -> None:
    """Nothing is fused, no subnormal flushed, and bfloat16 is rounded to nearest even."""
    rounded = ["cvt.rn.bf16"] if "bfloat16" in name else []
    found = compiled[name]
    assert (0, 0, rounded) == (found["fused"], found["flushed"], found["rounded"])


@pytest.mark.parametrize("name", ALIGNED)
def test_moves_16_bytes_at_once(compiled: Compiled, name: str) -> None:
    """Memory is read and written in the widest pieces."""
    assert ["v2" if "float64" in name else "v4"] == compiled[name]["moved"]


@pytest.mark.parametrize("name", ALIGNED + ODD)
def test_other_numbers_compile_nothing(compiled: Compiled, name: str) -> None:
    """Another key, place or rate runs the kernel that is there."""
    assert compiled[name]["same for other numbers"]
