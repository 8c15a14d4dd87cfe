"""Objects that a user names on the command line, or the functions that make them."""

import functools
import inspect
import sys
from pathlib import Path
from typing import Any

from dropkit.cli._target import module_at, raised
from dropkit.errors import OptionError


def load_object(target: str, *, option: str) -> Any:
    """What `target` names; a function or class that needs no arguments is called to make it.

    Args:
        target: ``package.module:attribute`` or ``path/to/file.py:attribute``, the attribute with
            dots where it lies in another object.
        option: What the command calls it, for messages.

    Raises:
        OptionError: There is no such object, or the user's code raised.
    """
    place, _, attribute = target.partition(":")
    if not place or not attribute:
        raise OptionError(
            f"`{option}` must be package.module:attribute or path/to/file.py:attribute; "
            f"got {target!r}."
        )
    module = module_at(place)
    value: Any = module
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise OptionError(
                f"`{option}` must name an object; there is no {attribute!r} in {place!r}."
            )
        value = getattr(value, name)
    if not _makes_it(value):
        return value
    try:
        return value()
    except Exception as error:
        raise OptionError(raised(str(module.__file__), error)) from error


def _makes_it(value: Any) -> bool:
    is_function = inspect.isroutine(value) or inspect.isclass(value)
    if not is_function and not isinstance(value, functools.partial):
        return False  # a model can be called too, and is what it is
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # some of C's have none to read
        return False
    return all(
        parameter.default is not parameter.empty
        or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in parameters
    )


def file_of(target: str) -> str | None:
    """The file that `target` names, of what was loaded from there; None where that has none."""
    place = target.partition(":")[0]
    if Path(place).is_file():
        return place
    return getattr(sys.modules.get(place), "__file__", None)
