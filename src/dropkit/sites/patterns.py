"""Glob patterns over the names of sites."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import nn

from dropkit.core.scope import site_name
from dropkit.errors import SiteError
from dropkit.sites.code import functions_called
from dropkit.sites.replaced import name_of_replaced
from dropkit.sites.sources import Source

V = TypeVar("V")


def first_match(patterns: Mapping[str, V], name: str) -> V | None:
    """What the first pattern that matches `name` stands for; ``*`` matches dots too."""
    for pattern, value in patterns.items():
        if fnmatchcase(name, pattern):
            return value
    return None


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether any pattern matches."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def possible_calls(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """(module, site name) of the calls of functions that drop in the code of the model's classes.

    The code is read, not run: some of them may never be made, and those whose rate a module keeps
    are named after that rate when they are.
    """
    return [
        (module, f"{site_name(path)}.{function}".lstrip("."))
        for path, module in model.named_modules()
        for function in sorted({*functions_called(type(module)), *_functions_kept(module)})
    ]


def _functions_kept(module: nn.Module) -> list[str]:
    """As an attribute, by itself or in a ``functools.partial``."""
    names = map(name_of_replaced, vars(module).values())
    return [name for name in names if name is not None]


def check_patterns(
    patterns: Iterable[str], sources: Sequence[Source], calls: Sequence[str], *, argument: str
) -> None:
    """Raise SiteError where a pattern can match no site.

    Args:
        patterns: Globs.
        sources: Rates that modules keep.
        calls: Names of calls in the code; a pattern may also name the second one and so on, as
            ``name#2``.
        argument: What the caller calls the patterns.
    """
    names = [source.name for source in sources]
    for pattern in patterns:
        plain = pattern.partition("#")[0]
        if not any(fnmatchcase(name, plain) for name in [*names, *calls]):
            raise SiteError(_no_match(pattern, names or list(calls), argument))


def _no_match(pattern: str, names: Sequence[str], argument: str) -> str:
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
    message = f"`{argument}` must name sites of the model; no site matches {pattern!r}."
    if near:
        return f"{message} Near names: {', '.join(map(repr, near))}."
    if names:
        return f"{message} The first of {len(names)} sites is {names[0]!r}."
    return f"{message} The model has no dropout."
