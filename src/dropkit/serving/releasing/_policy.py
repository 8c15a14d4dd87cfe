"""A policy: what a release has to keep to, as a TOML file says it."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dropkit.errors import OptionError
from dropkit.serving.releasing._limit import Limit, Section
from dropkit.serving.releasing._sections import SECTIONS

T = TypeVar("T")


@dataclass(frozen=True)
class Term:
    """One line of a policy.

    Attributes:
        section: The kind of report that it asks about.
        limit: The key.
        value: What the policy has behind it.
    """

    section: Section
    limit: Limit
    value: Any

    @property
    def rule(self) -> str:
        """Section and key."""
        return f"{self.section.name}.{self.limit.key}"


def read_policy(path: Path) -> tuple[Term, ...]:
    """The lines of the policy at `path`, in its order.

    Raises:
        OptionError: The file cannot be read, asks for nothing, or for what nobody knows.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"the policy {str(path)!r} cannot be read: {error}.") from error
    try:
        terms = tuple(_terms(document))
    except OptionError as error:
        raise OptionError(f"policy {str(path)!r}: {error}") from error
    if not terms:
        raise OptionError(
            f"policy {str(path)!r} must ask for something; it is empty. Sections: "
            f"{', '.join(section.name for section in SECTIONS)}."
        )
    return terms


def _terms(document: Mapping[str, Any]) -> Sequence[Term]:
    found = []
    sections = {section.name: section for section in SECTIONS}
    for name, table in document.items():
        section = _known(name, sections, "section")
        if not isinstance(table, Mapping):
            raise OptionError(f"`{name}` must be a table; got {table!r}.")
        limits = {limit.key: limit for limit in section.limits}
        for key, value in table.items():
            limit = _known(key, limits, f"key of [{name}]")
            try:
                limit.check(value)
            except OptionError as error:
                raise OptionError(f"`{name}.{key}` {error}") from error
            found.append(Term(section, limit, value))
    return found


def _known(word: str, known: Mapping[str, T], what: str) -> T:
    if word in known:
        return known[word]
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(known)}."
    raise OptionError(f"there is no {what} named {word!r}.{hint}")
