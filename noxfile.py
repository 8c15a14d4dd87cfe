"""Every check has a session; ``nox`` alone runs what CI runs.

Sessions use the environment that nox itself is installed in: ``./run tests`` makes it.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style of Python and C, and spelling."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("clang-format", "--dry-run", "--Werror", *_c_files())
    session.run("codespell", "src", "csrc", "tests", "bench", "docs", "README.md", "CHANGELOG.md")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Write the style that lint asks for."""
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")
    session.run("clang-format", "-i", *_c_files())


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests and doctests, in random order, warnings as errors, in two processes."""
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def core(session: nox.Session) -> None:
    """All tests of the C core: other compilers, sanitizers, emulated processors."""
    session.run("pytest", "-m", "", "tests/csrc", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; see docs/performance.md."""
    session.run("python", "bench/dropout_forward.py", *session.posargs)


def _c_files() -> list[str]:
    return [
        str(path) for folder in ("csrc", "tests") for path in sorted(Path(folder).rglob("*.[ch]"))
    ]
