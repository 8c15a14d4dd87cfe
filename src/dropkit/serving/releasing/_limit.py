"""What a rule of the gate is: how a number, or a word, of a report is held against a policy."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from dropkit.errors import OptionError

#: A report, as JSON gave it.
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """What a report says to a rule.

    Attributes:
        is_kept: Whether it keeps to the limit.
        found: What it says, in words.
    """

    is_kept: bool
    found: str


@dataclass(frozen=True)
class Limit:
    """One key that a section of a policy may have.

    Attributes:
        key: As it stands in the policy.
        about: What it asks for, and in which unit.
        next_step: What to do where it is not kept.
        source: Where it is from: a paper, or what of dropkit measures it.
        check: Raises OptionError where the value of a policy means nothing.
        words: The policy's value in words.
        read: Holds a report against that value.
    """

    key: str
    about: str
    next_step: str
    source: str
    check: Callable[[Any], None]
    words: Callable[[Any], str]
    read: Callable[[Report, Any], Reading]


@dataclass(frozen=True)
class Section:
    """A kind of report, and what a policy may ask of it.

    Attributes:
        name: As it stands in the policy.
        made_by: What writes such a report, for who has none.
        is_its: Whether a report is of this kind.
        limits: The keys.
    """

    name: str
    made_by: str
    is_its: Callable[[Report], bool]
    limits: Sequence[Limit]


def at_most(
    key: str, get: Callable[[Report], Any], *, about: str, next_step: str, source: str
) -> Limit:
    """A number that may not be higher; of an interval, its upper end."""
    return Limit(
        key,
        f"at most: {about}",
        next_step,
        source,
        check=_check_number,
        words=lambda limit: f"at most {limit:g}",
        read=lambda report, limit: _read(get(report), "high", lambda value: value <= limit),
    )


def at_least(
    key: str, get: Callable[[Report], Any], *, about: str, next_step: str, source: str
) -> Limit:
    """A number that may not be lower; of an interval, its lower end."""
    return Limit(
        key,
        f"at least: {about}",
        next_step,
        source,
        check=_check_number,
        words=lambda limit: f"at least {limit:g}",
        read=lambda report, limit: _read(get(report), "low", lambda value: value >= limit),
    )


def check_words(value: Any, known: Sequence[str]) -> None:
    """A list of words, each of which is known.

    Raises:
        OptionError: It is not.
    """
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise OptionError(f"must be a list of texts; got {value!r}.")
    for word in value:
        if word not in known:
            raise OptionError(f"must hold words out of {', '.join(known)}; got {word!r}.")


def _check_number(value: Any) -> None:
    if not _is_number(value):
        raise OptionError(f"must be a finite number; got {value!r}.")


def _read(found: Any, end: str, is_kept: Callable[[float], bool]) -> Reading:
    if isinstance(found, Mapping):  # an estimate: what counts is the end that is the worse
        value, worst = found.get("value"), found.get(end)
        if _is_number(value) and _is_number(worst):
            low, high = found.get("low"), found.get("high")
            interval = f"{value:.4g} ({_said(low)} to {_said(high)})"
            return Reading(is_kept(float(worst)), interval)
        if _is_number(value):
            return Reading(is_kept=False, found=f"{value:.4g}, without an interval")
        return Reading(is_kept=False, found="not measured")
    if found == math.inf:
        return Reading(is_kept=False, found="beyond the last bin")
    if not _is_number(found):
        return Reading(is_kept=False, found="not measured")
    return Reading(is_kept(float(found)), f"{found:.4g}")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _said(value: Any) -> str:
    return f"{value:.4g}" if _is_number(value) else "?"
