"""How the C core is built by itself, with its own test program."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CSRC = ROOT / "csrc"

#: Those of CMakeLists.txt with DROPKIT_STRICT.
STRICT = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-ffp-contract=off", "-fvisibility=hidden"]
STRICT += ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
WIDE = {"avx2": ["-mavx2", "-mf16c"], "avx512": ["-mavx512f", "-mavx512bw"]}

#: (compiler, flags, sources) -> program; the sources default to the core and its test program.
Build = Callable[..., Path]
#: (program) -> the instruction sets that agree with the model, on this or an emulated processor.
Check = Callable[..., list[str]]


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compile each file by itself, those for wide registers with their own flags, and link."""

    def built(cc: str, *flags: str, sources: Sequence[Path] = (), wide: bool = True) -> Path:
        if shutil.which(cc) is None:
            pytest.skip(f"there is no C compiler {cc!r} here")
        objects = []
        for source in sources or [*sorted(CSRC.glob("*.c")), *sorted(HERE.glob("*.c"))]:
            own = WIDE.get(source.stem.rpartition("_")[2], []) if wide else []
            objects.append(str(tmp_path / f"{source.stem}.o"))
            command = [cc, "-c", *STRICT, *flags, *own, f"-I{CSRC}", str(source), "-o", objects[-1]]
            done = _run(command)
            assert (0, "") == (done.returncode, done.stderr)
        program = tmp_path / "test_core"
        done = _run([cc, *flags, *objects, "-lpthread", "-lm", "-o", program])
        assert (0, "") == (done.returncode, done.stderr)
        return program

    return built


@pytest.fixture
def check() -> Check:
    """Run the test program, which must find no failure."""

    def checked(program: Path, *emulator: str) -> list[str]:
        answers = ROOT / "tests" / "core" / "known_answers.txt"
        done = _run([*emulator, program, answers])
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        *agreeing, last = done.stdout.splitlines()
        assert last == "0 failures"
        return [line.removesuffix(" agrees") for line in agreeing]

    return checked


@pytest.fixture(scope="session")
def is_x86_64() -> bool:
    """Are the wide kernels of this machine those of x86?"""
    return platform.machine() in ("x86_64", "AMD64")
