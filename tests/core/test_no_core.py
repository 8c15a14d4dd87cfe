"""No core, no crash: the slow twin serves with the same bits, and says so once."""

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]

DRAW = """
import sys, warnings
import torch, dropkit

def drawn(dtype):
    x = torch.linspace(-2, 2, 1000).to(dtype).requires_grad_()
    y = dropkit.functional.dropout(x, 0.3, address=dropkit.Address(2**64 - 1, 5).fold("twin"))
    y.backward(torch.ones_like(y))
    return [y.tolist(), x.grad.tolist()]

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        print(drawn(dtype))
for warning in caught:
    print(f"{warning.category.__module__}.{warning.category.__name__}: {warning.message}", file=sys.stderr)
"""

WARNING = (
    "dropkit.errors.CoreWarning: dropkit runs without its C core, with the same bits but many "
    "times slower: DROPKIT_ISA=reference asks for the slow twin. Run `dropkit doctor` for details.\n"
)


def test_same_bits_and_one_warning(run_python: Run) -> None:
    """Forward and backward are those of the C core, and one warning names the cause."""
    twin, best = run_python(DRAW, DROPKIT_ISA="reference"), run_python(DRAW)
    assert (0, 0) == (twin.returncode, best.returncode)
    assert best.stdout == twin.stdout
    assert WARNING == twin.stderr


def test_import_is_silent(run_python: Run) -> None:
    """A program that only imports dropkit is not warned."""
    done = run_python("import dropkit", DROPKIT_ISA="reference")
    assert (0, "") == (done.returncode, done.stderr)
