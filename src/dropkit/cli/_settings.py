"""What ``[tool.dropkit.audit]`` in pyproject.toml says."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropkit.auditing.allowances import Allowance
from dropkit.auditing.audit import chosen
from dropkit.auditing.finding import SEVERITIES, Severity
from dropkit.errors import OptionError

_TABLE = "[tool.dropkit.audit]"
_KEYS = ("allow", "fail-on", "ignore", "select")
_ALLOWANCE_KEYS = ("code", "reason", "site")


@dataclass(frozen=True)
class Settings:
    """Which rules look, what may stand, and from which severity on the command fails."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow: tuple[Allowance, ...] = ()
    fail_on: Severity = "warning"


def find_settings(folder: Path) -> Settings:
    """Those of the first pyproject.toml in `folder` or above it; the defaults where none is.

    Raises:
        OptionError: The file cannot be read, or says what means nothing.
    """
    for one in (folder, *folder.parents):
        path = one / "pyproject.toml"
        if path.is_file():
            try:
                return _settings(_table(path))
            except OptionError as error:
                raise OptionError(f"{_TABLE} of {path}: {error}") from error
    return Settings()


def _table(path: Path) -> Mapping[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"the file cannot be read: {error}.") from error
    found: Any = document
    for key in ("tool", "dropkit", "audit"):
        found = found.get(key, {})
        if not isinstance(found, Mapping):
            raise OptionError(f"`{key}` must be a table.")
    return dict(found)


def _settings(table: Mapping[str, Any]) -> Settings:
    _check_keys(table, _KEYS)
    fail_on = table.get("fail-on", "warning")
    if fail_on not in SEVERITIES:
        raise OptionError(f"`fail-on` must be one of {', '.join(SEVERITIES)}; got {fail_on!r}.")
    allow = table.get("allow", [])
    if not isinstance(allow, list) or not all(isinstance(one, Mapping) for one in allow):
        raise OptionError("`allow` must be tables: [[tool.dropkit.audit.allow]].")
    select, ignore = _words(table, "select"), _words(table, "ignore")
    chosen(select, ignore)  # raises where there is no such rule
    return Settings(select, ignore, tuple(_allowance(one) for one in allow), fail_on)


def _words(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = table.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise OptionError(f"`{key}` must be a list of texts; got {words!r}.")
    return tuple(words)


def _allowance(table: Mapping[str, Any]) -> Allowance:
    _check_keys(table, _ALLOWANCE_KEYS)
    for key in ("code", "reason"):
        if key not in table:
            raise OptionError(f"`allow` must have a {key!r}; got {dict(table)!r}.")
    for key, value in table.items():
        if not isinstance(value, str):
            raise OptionError(f"`{key}` must be a text; got {value!r}.")
    return Allowance(**table)


def _check_keys(table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise OptionError(f"there is no key {key!r}; there are {', '.join(known)}.")
