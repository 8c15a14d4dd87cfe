"""Hold reports against a policy: may this model be released?"""

import json
from collections.abc import Sequence
from pathlib import Path

from dropkit.errors import DataError, OptionError
from dropkit.serving.releasing._limit import Report, Section
from dropkit.serving.releasing._outcome import Outcome, Release
from dropkit.serving.releasing._policy import Term, read_policy
from dropkit.serving.releasing._sections import SECTIONS


def gate(policy: str | Path, reports: Sequence[str | Path]) -> Release:
    """Say whether `reports` keep to `policy`, line by line.

    What a policy asks about and no report tells is not kept: a gate opens on evidence only. Where
    several reports are of one kind, each has to keep to it. A number that was measured with an
    interval is held against the limit by the end that is the worse.

    Args:
        policy: A TOML file; each section is a kind of report. ``dropkit gate --keys`` lists
            sections and keys.
        reports: JSON files that dropkit has written; nothing else is read.

    Raises:
        OptionError: The policy cannot be read, is empty or has keys that nobody knows; or there
            are no reports.
        DataError: A report cannot be read, or is none of dropkit's.
    """
    terms = read_policy(Path(policy))
    if not reports:
        raise OptionError("`reports` must name at least one JSON file; got none.")
    read = [(str(path), *_read(Path(path))) for path in dict.fromkeys(map(str, reports))]
    asked = {term.section.name for term in terms}
    outcomes = []
    for term in terms:
        mine = [(name, report) for name, report, kinds in read if term.section in kinds]
        outcomes += [_held(term, name, report) for name, report in mine] or [_missing(term)]
    unchecked = [
        name for name, _, kinds in read if not any(section.name in asked for section in kinds)
    ]
    return Release(tuple(outcomes), tuple(unchecked))


def _read(path: Path) -> tuple[Report, tuple[Section, ...]]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(f"the report {str(path)!r} cannot be read: {error}.") from error
    kinds = (
        tuple(section for section in SECTIONS if section.is_its(report))
        if isinstance(report, dict)
        else ()
    )
    if not kinds:
        raise DataError(
            f"the report {str(path)!r} is none of dropkit's: it must be the JSON of "
            f"{'; '.join(section.made_by for section in SECTIONS)}."
        )
    return report, kinds


def _held(term: Term, name: str, report: Report) -> Outcome:
    try:
        reading = term.limit.read(report, term.value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"the report {name!r} says nothing that {term.rule} can be read from: "
            f"{type(error).__name__}: {error}. Was it written by this version of dropkit?"
        ) from error
    return Outcome(
        rule=term.rule,
        is_passed=reading.is_kept,
        found=reading.found,
        limit=term.limit.words(term.value),
        report=name,
        next_step=term.limit.next_step,
        source=term.limit.source,
    )


def _missing(term: Term) -> Outcome:
    return Outcome(
        rule=term.rule,
        is_passed=False,
        found="no report",
        limit=term.limit.words(term.value),
        report=None,
        next_step=f"Hand over the JSON of {term.section.made_by}.",
        source=term.limit.source,
    )
