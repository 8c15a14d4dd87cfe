"""Any instruction set can be forced; forcing an absent one is refused."""

import re
import subprocess
from collections.abc import Callable

import pytest

from dropkit.core.binding import LOADED
from dropkit.errors import CoreError

Run = Callable[..., subprocess.CompletedProcess[str]]

needs_core = pytest.mark.skipif(LOADED.core is None, reason=f"there is no C core: {LOADED.why_not}")
WHICH = "from dropkit.core.binding import LOADED; print(LOADED.core.isa)"


def _choices() -> str:
    assert LOADED.core is not None
    return ", ".join(
        [*(name for name, usable in LOADED.core.isas().items() if usable), "reference"]
    )


def test_forced(run_python: Run, isa: str) -> None:
    """DROPKIT_ISA chooses the instruction set of a process."""
    done = run_python(WHICH, DROPKIT_ISA=isa)
    assert (0, f"{isa}\n", "") == (done.returncode, done.stdout, done.stderr)


@needs_core
def test_widest_is_the_default(run_python: Run) -> None:
    """Unset, the first usable instruction set serves."""
    assert LOADED.core is not None
    widest = next(name for name, usable in LOADED.core.isas().items() if usable)
    assert f"{widest}\n" == run_python(WHICH).stdout


@needs_core
def test_empty_is_unset(run_python: Run) -> None:
    """An empty DROPKIT_ISA is no choice."""
    assert run_python(WHICH).stdout == run_python(WHICH, DROPKIT_ISA="").stdout


@needs_core
def test_absent_one_is_refused(run_python: Run) -> None:
    """Forcing an unknown instruction set ends the import with the whole sentence."""
    done = run_python("import dropkit", DROPKIT_ISA="avx9")
    message = (
        f"dropkit.errors.CoreError: `DROPKIT_ISA` must be an instruction set of this machine "
        f"({_choices()}); got 'avx9'. Unset it to let dropkit choose."
    )
    assert (1, message) == (done.returncode, done.stderr.splitlines()[-1])


@needs_core
def test_refusal_changes_nothing() -> None:
    """After a refused choice the one before still serves."""
    assert LOADED.core is not None
    before = LOADED.core.isa
    message = (
        f"`DROPKIT_ISA` must be an instruction set of this machine ({_choices()}); "
        "got ''. Unset it to let dropkit choose."
    )
    with pytest.raises(CoreError, match="^" + re.escape(message) + "$"):
        LOADED.core.force("")
    assert before == LOADED.core.isa


@needs_core
def test_portable_is_always_there() -> None:
    """The portable kernels are last in the list, and usable."""
    assert LOADED.core is not None
    assert ("portable", True) == list(LOADED.core.isas().items())[-1]
