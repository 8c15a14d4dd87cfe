"""What is public is listed, and imports point one way."""

import ast
import subprocess
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dropkit

Run = Callable[..., subprocess.CompletedProcess[str]]

PACKAGE = Path(dropkit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: Rooms that stand level do not import each other; a room imports itself and those before it.
LEVELS = [
    {"core"},
    {"functional"},
    {"nn"},
    {"sites"},
    {"auditing", "tracing", "uncertainty"},
    {"studies", "serving"},
    {"finetuning"},
    {"demo"},
    {"reporting"},
    {"cli", "testing"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
HEAVY = ["transformers", "ray", "scipy", "rich", "typer", "jinja2", "matplotlib", "torch._dynamo"]


def test_all_is_sorted() -> None:
    """`dropkit.__all__` is sorted and names everything once."""
    assert sorted(set(dropkit.__all__)) == dropkit.__all__


def test_all_is_complete() -> None:
    """Every public attribute is in `__all__`, save sub-packages that users do not name."""
    public = {
        name
        for name, value in vars(dropkit).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    modules = {
        name for name in dropkit.__all__ if isinstance(getattr(dropkit, name), types.ModuleType)
    }
    assert set(dropkit.__all__) == public | modules


def test_errors_are_listed() -> None:
    """Every class of `dropkit.errors` is in its `__all__`, sorted."""
    classes = [name for name, value in vars(dropkit.errors).items() if isinstance(value, type)]
    assert sorted(classes) == dropkit.errors.__all__


def test_import_is_light(run_python: Run) -> None:
    """`import dropkit` loads none of the packages that only a tool needs."""
    done = run_python(f"import sys, dropkit; print(sorted(set({HEAVY}) & set(sys.modules)))")
    assert (0, "[]\n", "") == (done.returncode, done.stdout, done.stderr)


def _imported(file: Path, source: str) -> Iterator[str]:
    """Every module that `source` imports, anywhere in it, by its absolute name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = ["dropkit", *file.relative_to(PACKAGE).with_suffix("").parts]
            base = here[: len(here) - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _room(file: Path) -> str:
    """The first folder below the package; "" for a file that lies in no room."""
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def _wrong_imports(file: Path, source: str) -> list[str]:
    """The imports of other rooms that `file` may not make."""
    here, wrong = _room(file), []
    for name in _imported(file, source):
        parts = name.split(".")
        if parts[0] != "dropkit" or len(parts) == 1:
            continue
        there = parts[1]
        may = there in ("errors", here) or LEVEL.get(there, len(LEVELS)) < LEVEL[here]
        if not may:
            wrong.append(f"{file.relative_to(PACKAGE)} imports {name}")
    return wrong


def test_every_room_is_listed() -> None:
    """A folder of the package is a room of the list."""
    rooms = {_room(file) for file in FILES} - {""}
    assert set() == rooms - set(LEVEL)


def test_files_outside_rooms() -> None:
    """Outside the rooms lie the public names, the errors and ``python -m dropkit`` only."""
    assert {"__init__.py", "__main__.py", "errors.py"} == {
        file.name for file in FILES if not _room(file)
    }


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_imports_point_one_way(file: Path) -> None:
    """A room imports itself, the errors and earlier rooms only; the errors import nothing."""
    source = file.read_text(encoding="utf-8")
    if file == PACKAGE / "errors.py":
        assert [] == list(_imported(file, source))
    elif file != PACKAGE / "__init__.py" and _room(file) in LEVEL:
        assert [] == _wrong_imports(file, source)


@pytest.mark.parametrize(
    ("room", "line", "is_wrong"),
    [
        ("core", "from dropkit.nn import Dropout", True),
        ("core", "import dropkit.sites.find", True),
        ("core", "def f():\n    from dropkit import functional", True),
        ("core", "from ..nn import Dropout", True),
        ("core", "from . import rate", False),
        ("core", "from dropkit.errors import RateError", False),
        ("studies", "from dropkit.serving import gate", True),
        ("tracing", "from dropkit.auditing import audit", True),
        ("studies", "from dropkit.tracing import trace", False),
        ("cli", "from dropkit.demo import run", False),
        ("demo", "from dropkit.cli import main", True),
        ("nn", "import torch", False),
        ("nn", "from dropkit.unheard import of", True),
    ],
)
def test_import_check_can_fail(room: str, line: str, is_wrong: bool) -> None:
    """The check above sees each wrong direction, and lets the right ones pass."""
    assert is_wrong == bool(_wrong_imports(PACKAGE / room / "file.py", line))


def test_only_binding_loads_c() -> None:
    """Only `core/binding.py` imports ctypes."""
    users = [
        str(file.relative_to(PACKAGE))
        for file in FILES
        if any(
            name.split(".")[0] == "ctypes"
            for name in _imported(file, file.read_text(encoding="utf-8"))
        )
    ]
    assert ["core/binding.py"] == users
