"""What models call a function, replaced while someone needs it replaced."""

import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from torch import nn

#: A module, or a file, and what it calls a function.
Name = tuple[weakref.ref[Any], str]


class Renamed:
    """Names in the files of models, and attributes of their modules, that stand for a function.

    Args:
        replacement_of: What is to stand there instead; None to leave it.
    """

    def __init__(self, replacement_of: Callable[[Any], Any]) -> None:
        self._replacement_of = replacement_of
        self._lock = threading.Lock()
        self._users: Counter[Name] = Counter()
        self._theirs: dict[Name, Any] = {}

    def begin(self, model: nn.Module) -> list[Name]:
        """Replace them for `model`; returns what `end` takes."""
        with self._lock:
            names = list(self._names(model))
            self._users.update(names)
        return names

    def end(self, names: list[Name]) -> None:
        """Put back those that nobody else needs replaced."""
        with self._lock:
            for key in names:
                self._users[key] -= 1
                if not self._users[key]:
                    del self._users[key]
                    (holder, name), theirs = key, self._theirs.pop(key)
                    if holder() is not None:
                        vars(holder())[name] = theirs

    def _names(self, model: nn.Module) -> Iterator[Name]:
        for holder in (*_files(model), *model.modules()):
            for name, value in list(vars(holder).items()):
                key = weakref.ref(holder), name
                ours = self._replacement_of(value)
                if key in self._theirs:
                    yield key
                elif ours is not None:
                    self._theirs[key] = value
                    vars(holder)[name] = ours
                    yield key


def _files(model: nn.Module) -> list[ModuleType]:
    """The files in which the classes of a model are, without torch's and dropkit's."""
    names = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
    files = [sys.modules[name] for name in sorted(names) if name in sys.modules]
    theirs = ("torch.", "dropkit.", "builtins")
    return [file for file in files if not file.__name__.startswith(theirs)]
