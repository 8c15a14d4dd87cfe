"""The C core builds without a warning, and runs without a fault under the sanitizers."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
PROGRAM = Path(__file__).parent / "test_core.c"
KNOWN_ANSWERS = ROOT / "tests" / "core" / "known_answers.txt"

#: Those of CMakeLists.txt with DROPKIT_STRICT.
STRICT = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-ffp-contract=off", "-fvisibility=hidden"]
STRICT += ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
SANITIZERS = {
    "address,undefined": "-fsanitize=address,undefined",
    "thread": "-fsanitize=thread",
}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def _cc(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no C compiler {name!r} here")
    return found


def _build(cc: str, into: Path, *flags: str, sources: list[Path]) -> Path:
    """Compile each file by itself, only avx2.c for AVX2, and link them."""
    objects = []
    for source in sources:
        wide = ["-mavx2", "-mf16c"] if source.name == "avx2.c" and _is_x86_64() else []
        objects.append(str(into / f"{source.stem}.o"))
        done = _run([cc, "-c", *STRICT, *flags, *wide, f"-I{CSRC}", str(source), "-o", objects[-1]])
        assert (0, "") == (done.returncode, done.stderr)
    program = into / "test_core"
    done = _run([cc, *flags, *objects, "-lpthread", "-o", str(program)])
    assert (0, "") == (done.returncode, done.stderr)
    return program


def _is_x86_64() -> bool:
    return platform.machine() in ("x86_64", "AMD64")


def _check(program: Path) -> None:
    done = _run([str(program), str(KNOWN_ANSWERS)])
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert done.stdout.endswith("portable agrees\n0 failures\n")


@pytest.mark.parametrize("sanitizer", list(SANITIZERS))
def test_sanitized(tmp_path: Path, sanitizer: str) -> None:
    """No sanitizer finds a fault while all instruction sets agree over edges, types and threads."""
    cc = _cc("cc")
    sources = [*sorted(CSRC.glob("*.c")), PROGRAM]
    flags = ["-O1", "-g", "-fno-sanitize-recover=all", SANITIZERS[sanitizer]]
    _check(_build(cc, tmp_path, *flags, sources=sources))


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_optimized(tmp_path: Path, cc: str) -> None:
    """Each compiler at -O3 builds it without a warning, and all instruction sets agree."""
    sources = [*sorted(CSRC.glob("*.c")), PROGRAM]
    _check(_build(_cc(cc), tmp_path, "-O3", sources=sources))


def test_sanitizer_can_fail(tmp_path: Path) -> None:
    """A read past the end of a buffer is seen under the same flags."""
    cc = _cc("cc")
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <stdlib.h>\n"
        "int main(int argc, char **argv) {\n"
        "    (void)argv;\n"
        "    volatile char *bytes = calloc(1, (size_t)argc);\n"
        "    return bytes == NULL ? 0 : bytes[argc];\n"
        "}\n"
    )
    program = _build(cc, tmp_path, "-O1", "-g", SANITIZERS["address,undefined"], sources=[source])
    assert "heap-buffer-overflow" in _run([str(program)]).stderr
