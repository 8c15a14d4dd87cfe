"""The C core builds without a warning, and runs without a fault under the sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dropkit.core.binding import LOADED

Build = Callable[..., Path]
Check = Callable[..., list[str]]

COMPILERS = ["gcc", pytest.param("clang", marks=pytest.mark.long)]
SANITIZED = ["-O1", "-g", "-fno-sanitize-recover=all"]


def _usable() -> list[str]:
    assert LOADED.core is not None
    return [name for name, can_run in LOADED.core.isas().items() if can_run]


@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize(
    "sanitizer", ["address,undefined", pytest.param("thread", marks=pytest.mark.long)]
)
def test_sanitized(build: Build, check: Check, cc: str, sanitizer: str, is_x86_64: bool) -> None:
    """No sanitizer finds a fault while all instruction sets agree over edges, types and threads."""
    program = build(cc, *SANITIZED, f"-fsanitize={sanitizer}", wide=is_x86_64)
    assert "portable" == check(program)[-1]


@pytest.mark.parametrize("cc", COMPILERS)
def test_optimized(build: Build, check: Check, cc: str, is_x86_64: bool) -> None:
    """Each compiler builds it at -O3 without a warning, with all that this machine can run."""
    assert _usable() == check(build(cc, "-O3", wide=is_x86_64))


def test_compiler_without_avx512(build: Build, check: Check, is_x86_64: bool) -> None:
    """Where the compiler knows no AVX-512 the build leaves it out."""
    program = build("cc", "-O1", "-DDK_NO_AVX512", wide=is_x86_64)
    assert [name for name in _usable() if name != "avx512"] == check(program)


@pytest.mark.parametrize("cc", COMPILERS)
def test_sanitizer_can_fail(tmp_path: Path, build: Build, cc: str) -> None:
    """A read past the end of a buffer is seen under the same flags."""
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <stdlib.h>\n"
        "int main(int argc, char **argv) {\n"
        "    (void)argv;\n"
        "    volatile char *bytes = calloc(1, (size_t)argc);\n"
        "    return bytes == NULL ? 0 : bytes[argc];\n"
        "}\n"
    )
    program = build(cc, *SANITIZED, "-fsanitize=address,undefined", sources=[source])
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert "heap-buffer-overflow" in done.stderr
