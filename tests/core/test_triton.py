"""The Triton kernel draws the slow twin's bits, in Triton's interpreter, and waits to be asked.

bfloat16 is compared only where products and sums are exact: the interpreter does not round it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support_triton import CASES, POWER

SCRIPT = Path(__file__).parents[1] / "support/support_triton_interpreted.py"
RunPython = Callable[..., subprocess.CompletedProcess[str]]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: pip install 'dropkit[triton]' (it is made for Linux).",
)


@pytest.fixture(scope="session")
def wrong() -> dict[str, list[int]]:
    """Where the kernel's bits are not the twin's, by the name of the case."""
    # Triton reads the variable when it is imported, so the cases need a process of their own.
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    by_name = {result["name"]: result["wrong"] for result in results}
    assert len(results) == len(by_name), "two cases have one name"
    return by_name


@needs_triton
@pytest.mark.parametrize("i", range(3))
def test_known_answers(wrong: dict[str, list[int]], i: int) -> None:
    """The kernel's Philox gives Random123's own answers."""
    assert [] == wrong[f"known answer {i}"]


@needs_triton
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_equals_the_twin(wrong: dict[str, list[int]], name: str) -> None:
    """Each element is the twin's, bit for bit."""
    assert [] == wrong[name]


@needs_triton
@pytest.mark.parametrize("name", [case.name for case in POWER])
def test_the_comparison_can_fail(wrong: dict[str, list[int]], name: str) -> None:
    """One bit of key, stream or index is seen by the comparison with the twin."""
    assert 300 < len(wrong[name])


def test_dropkit_does_not_import_triton(run_python: RunPython) -> None:
    """Who has no CUDA tensor does not wait for Triton."""
    ran = run_python(
        "import sys, torch, dropkit\n"
        "dropkit.functional.dropout(torch.ones(9, requires_grad=True), 0.5).sum().backward()\n"
        "print('triton' in sys.modules, 'dropkit.core.triton' in sys.modules)"
    )
    assert (0, "False False\n", "") == (ran.returncode, ran.stdout, ran.stderr)


def test_without_triton(run_python: RunPython) -> None:
    """Without Triton the error names what to install."""
    ran = run_python(
        "import sys\n"
        "sys.modules['triton'] = None\n"
        "from dropkit.errors import MissingExtraError\n"
        "try:\n"
        "    import dropkit.core.triton\n"
        "except MissingExtraError as error:\n"
        "    print(error)"
    )
    message = "dropout on CUDA tensors needs triton: pip install 'dropkit[triton]'.\n"
    assert (0, message, "") == (ran.returncode, ran.stdout, ran.stderr)
