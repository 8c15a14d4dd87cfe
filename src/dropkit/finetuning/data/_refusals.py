"""All that is bad in one error: nothing is left out, and nothing stops the search for more."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from dropkit.errors import DataError

S = TypeVar("S")
T = TypeVar("T")

_FEW = 5  # are told with their reason
_MANY = 50  # more are told by their place
_QUOTED = 40  # characters


class Refused(Exception):  # noqa: N818 - it is caught here, and becomes a part of a DataError
    """Why one of many cannot be taken, as the end of a sentence that begins with its place."""


@dataclass(frozen=True)
class Record:
    """One line or row of a source, read or not.

    Attributes:
        where: ``chats.jsonl:12``.
        fields: Its values by key; None where it could not be read.
        reason: Why not.
        text: What stands there; of a row its keys and values.
    """

    where: str
    fields: dict[str, object] | None
    reason: str = ""
    text: str = ""

    def present(self) -> dict[str, object]:
        """The fields that hold something: tables have a column for what only some rows have.

        Raises:
            Refused: It could not be read.
        """
        if self.fields is None:
            raise Refused(self.reason)
        return {key: value for key, value in self.fields.items() if value is not None}

    def told(self) -> tuple[str, str]:
        """Where it stands, and what stands there."""
        shown = ", ".join(f"{key}: {value}" for key, value in (self.fields or {}).items())
        return self.where, self.text or shown


def taken(
    items: Iterable[S],
    take: Callable[[S], T],
    told: Callable[[S], tuple[str, str]],
    opening: Callable[[int, int], str],
) -> list[T]:
    """What `take` makes of each, if it can make something of all.

    Args:
        items: In their order.
        take: Raises Refused with the reason.
        told: The place of one, and what stands there.
        opening: The error's first sentence, from how many are bad and how many there are.

    Raises:
        DataError: Some were refused: all of them are in the one message.
    """
    result: list[T] = []
    refused: list[tuple[str, str, str]] = []
    for item in items:
        try:
            result.append(take(item))
        except Refused as error:
            where, text = told(item)
            refused.append((where, str(error), _quoted(text)))
    if refused:
        total = len(refused) + len(result)
        raise DataError(f"{opening(len(refused), total)} {_reasons(refused, total)}")
    return result


def lines_of(name: str) -> Callable[[int, int], str]:
    """The first sentence on the bad lines of a file."""

    def opening(n: int, total: int) -> str:
        return (
            f"`{name}` has {n:,} bad {'line' if n == 1 else 'lines'} of {total:,}; none was taken."
        )

    return opening


def _reasons(refused: list[tuple[str, str, str]], total: int) -> str:
    where, reason, quote = refused[0]
    if len(refused) == total > 1 and len({reason for _, reason, _ in refused}) == 1:
        return f"Each {reason}; the first, {where}: {quote}."
    message = " ".join(f"{where} {reason}: {quote}." for where, reason, quote in refused[:_FEW])
    more = [where for where, _, _ in refused[_FEW:]]
    if more:
        message += f" Bad too: {', '.join(more[:_MANY])}"
        message += f" and {len(more) - _MANY:,} more." if len(more) > _MANY else "."
    return message


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")
