"""Does dropout help? What ``dropkit study``, ``demo`` and ``finetune`` have written."""

from collections.abc import Mapping
from typing import Any

from dropkit.serving.releasing._limit import Limit, Reading, Report, Section, at_least, check_words

_DECISIONS = ("helps", "harms", "no practical difference", "not enough evidence")
_SOURCE = "dropkit study"


def study_of(report: Report) -> Mapping[str, Any] | None:
    """The study in `report`: the report itself, or a part of it; None where there is none."""
    for part in (report, report.get("study")):
        if isinstance(part, Mapping) and {"verdict", "differences", "arms"} <= part.keys():
            return part
    return None


def _study(report: Report) -> Mapping[str, Any]:
    found = study_of(report)
    if found is None:
        raise KeyError("verdict")
    return found


def _read_decision(report: Report, allowed: list[str]) -> Reading:
    verdict = _study(report)["verdict"]
    return Reading(verdict["decision"] in allowed, f"{verdict['decision']}: {verdict['sentence']}")


def _fired(report: Report) -> list[str]:
    return [
        signal["name"]
        for signal in _study(report)["verdict"]["signals"]
        if signal["state"] == "fired"
    ]


def _check_signals(value: Any) -> None:
    check_words(value, value if isinstance(value, list) else ())


def _read_signals(report: Report, silent: list[str]) -> Reading:
    known = [signal["name"] for signal in _study(report)["verdict"]["signals"]]
    fired = [name for name in _fired(report) if name in silent]
    unknown = [name for name in silent if name not in known]
    if unknown:
        return Reading(is_kept=False, found=f"the study has no signal {', '.join(unknown)}")
    return Reading(not fired, f"fired: {', '.join(fired)}" if fired else "silent")


STUDY = Section(
    "study",
    "`dropkit study`",
    lambda report: study_of(report) is not None,
    (
        Limit(
            "decisions",
            "a list: verdicts that may stand",
            "Do what the study's next step says, or release the baseline.",
            _SOURCE,
            check=lambda value: check_words(value, _DECISIONS),
            words=lambda value: f"one of {', '.join(value)}",
            read=_read_decision,
        ),
        Limit(
            "silent",
            "a list: signals that must not have fired",
            "Do what the signal says; the study's page has the sentence.",
            _SOURCE,
            check=_check_signals,
            words=lambda value: f"{', '.join(value)} silent",
            read=_read_signals,
        ),
        at_least(
            "replicates",
            lambda report: _study(report)["n_complete"],
            about="finished replicates of each arm",
            next_step="Run more replicates: the same command with --replicates goes on.",
            source=_SOURCE,
        ),
    ),
)
