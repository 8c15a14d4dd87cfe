"""Is dropout wired up right? What ``dropkit audit --format json`` has written."""

from typing import Any

from dropkit.auditing.finding import SEVERITIES
from dropkit.errors import OptionError
from dropkit.serving.releasing._limit import Limit, Reading, Report, Section, check_words

_CLEAN = "none"
_MAY_STAND = (_CLEAN, *reversed(SEVERITIES))
_STEP = "Mend what the audit names, or allow it with a reason in pyproject.toml."


def _check_severity(value: Any) -> None:
    if value not in _MAY_STAND:
        raise OptionError(f"must be one of {', '.join(_MAY_STAND)}; got {value!r}.")


def _read_severity(report: Report, may_stand: str) -> Reading:
    ranks = {severity: rank for rank, severity in enumerate(_MAY_STAND)}
    graver = [
        finding for finding in report["findings"] if ranks[finding["severity"]] > ranks[may_stand]
    ]
    if not graver:
        return Reading(is_kept=True, found=_counted(len(report["findings"])))
    named = ", ".join(
        f"{finding['code']} {finding['name']}"
        + (f" at {finding['site']}" if finding["site"] else "")
        for finding in graver[:3]
    )
    more = f" and {len(graver) - 3} more" if len(graver) > 3 else ""
    return Reading(is_kept=False, found=f"{named}{more}")


def _read_rules(report: Report, wanted: list[str]) -> Reading:
    missing = [code for code in wanted if code not in report["rules"]]
    found = f"not among the rules that looked: {', '.join(missing)}" if missing else "all looked"
    return Reading(not missing, found)


def _counted(n: int) -> str:
    return "no findings" if n == 0 else f"{n} finding{'s' if n > 1 else ''}, none graver"


def _check_codes(value: Any) -> None:
    from dropkit.auditing.rules import RULES  # noqa: PLC0415 - its list, where it is asked for

    check_words(value, [rule.code for rule in RULES])


AUDIT = Section(
    "audit",
    "`dropkit audit --format json`",
    lambda report: {"findings", "rules", "not_seen"} <= report.keys(),
    (
        Limit(
            "may-stand",
            f"the gravest finding that may stand: {', '.join(_MAY_STAND)}",
            _STEP,
            "dropkit audit",
            check=_check_severity,
            words=lambda value: (
                f"nothing graver than {value}" if value != _CLEAN else "no findings"
            ),
            read=_read_severity,
        ),
        Limit(
            "rules",
            "a list: codes of rules that must have looked",
            "Audit again without --select and --ignore.",
            "dropkit audit",
            check=_check_codes,
            words=lambda value: f"{', '.join(value)} looked",
            read=_read_rules,
        ),
    ),
)
