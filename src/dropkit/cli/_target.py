"""From what a user names on the command line to a Python object."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from dropkit.errors import OptionError

T = TypeVar("T")


def load(target: str, kind: type[T]) -> T:
    """The object of class `kind` that `target` names; runs the code of its module.

    Args:
        target: ``path/to/file.py[:attribute]`` or ``package.module[:attribute]``. Without an
            attribute, the module's only object of that class.
        kind: What it must be.

    Raises:
        OptionError: There is no such file, module or object, or the module's code raised.
    """
    place, _, attribute = target.partition(":")
    module = module_at(place)
    found = {name: value for name, value in vars(module).items() if isinstance(value, kind)}
    if attribute:
        if attribute not in found:
            what = "is no" if hasattr(module, attribute) else "does not exist: it must be a"
            raise OptionError(f"`{attribute}` in `{place}` {what} dropkit {kind.__name__}.")
        return found[attribute]
    different = {id(value): name for name, value in found.items()}
    if len(different) != 1:
        names = ", ".join(sorted(different.values()))
        got = f"got {names}. Name one: {place}:{min(different.values())}" if names else "got none"
        raise OptionError(f"`{place}` must have one {kind.__name__} at its top level; {got}.")
    return next(iter(found.values()))


def module_at(place: str) -> ModuleType:
    """The module that a user names as ``path/to/file.py`` or ``package.module``; runs its code.

    Raises:
        OptionError: There is none, or its code raised.
    """
    path = Path(place)
    if path.suffix != ".py":
        name, where = place, place
        if str(Path.cwd()) not in sys.path:  # as ``python -m`` has it, and the script has not
            sys.path.insert(0, str(Path.cwd()))
    else:
        if not path.is_file():
            raise OptionError(f"`{place}` does not exist.")
        # By its own name, not by its path alone: worker processes import it again.
        name, where = path.stem, str(path.resolve())
        sys.path.insert(0, str(path.resolve().parent))
        known = sys.modules.get(name) or importlib.util.find_spec(name)
        origin = getattr(known, "__file__", None) or getattr(known, "origin", None)
        if origin != where:
            raise OptionError(f"`{place}` has the name of another module, {name!r}. Rename it.")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in set(_parents(name)):
            raise OptionError(
                f"`{place}` must be a Python file or module; there is none."
            ) from error
        raise OptionError(raised(where, error)) from error
    except Exception as error:
        raise OptionError(raised(where, error)) from error


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        yield ".".join(parts[:n])


def raised(where: str, error: Exception) -> str:
    """A sentence of what the user's file at `where` raised, and in which of its lines."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where
    ]
    line = f" line {frames[-1].lineno}" if frames else ""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"`{Path(where).name}`{line} raised {said.removesuffix('.')}."
