"""What do users feel? What ``dropkit probe --json`` has written."""

from typing import Any

from dropkit.serving.releasing._limit import (
    Limit,
    Reading,
    Report,
    Section,
    at_most,
    check_words,
)

_SOURCE = "dropkit probe"
_STEP = "Mend the cause that the probe names beside each symptom, and probe again."
_SYMPTOMS = ("slower answers", "weaker grounding", "noisy retrieval", "confusing hand-over")


def _present(report: Report) -> list[str]:
    return [one["name"] for one in report["symptoms"] if one["is_present"]]


def _read_number(report: Report, limit: float) -> Reading:
    present = _present(report)
    return Reading(len(present) <= limit, ", ".join(present) or "none seen")


def _read_absent(report: Report, wanted: list[str]) -> Reading:
    states = {one["name"]: one["is_present"] for one in report["symptoms"]}
    present = [name for name in wanted if states[name]]
    unknown = [name for name in wanted if states[name] is None]
    parts = [", ".join(present)] if present else []
    if unknown:
        parts.append(f"cannot tell: {', '.join(unknown)}")
    return Reading(not parts, "; ".join(parts) or "absent")


def _check_absent(value: Any) -> None:
    check_words(value, _SYMPTOMS)


_NUMBER = at_most(
    "symptoms", _present, about="symptoms that are there", next_step=_STEP, source=_SOURCE
)

PROBE = Section(
    "probe",
    "`dropkit probe --json`",
    lambda report: report.get("format") == "dropkit probe",
    (
        Limit(
            "symptoms",
            _NUMBER.about,
            _STEP,
            _SOURCE,
            check=_NUMBER.check,
            words=_NUMBER.words,
            read=_read_number,
        ),
        Limit(
            "absent",
            "a list: symptoms that must be measured, and absent",
            f"{_STEP} Where it cannot tell, its sentence says what to hand over.",
            _SOURCE,
            check=_check_absent,
            words=lambda value: f"{', '.join(value)} measured and absent",
            read=_read_absent,
        ),
        at_most(
            "failed",
            lambda report: report["failed"] / (report["failed"] + report["calls"]),
            about="share of requests without an answer, in [0, 1]",
            next_step="Read `failures` in the probe's report: requests that had no answer.",
            source=_SOURCE,
        ),
        at_most(
            "p99-s",
            lambda report: report["latency"]["p99_s"],
            about="seconds in which 99 of 100 answers came",
            next_step="Look whether dropout is on in service, then for fewer or smaller layers.",
            source=_SOURCE,
        ),
    ),
)
