"""A release check as JUnit XML, which every CI system shows."""

import re
from xml.etree import ElementTree as ET

from dropkit.serving import Outcome, Release

#: What XML 1.0 has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_junit(release: Release) -> str:
    """A test case a rule; the failure says what was found and what to do."""
    failed = [outcome for outcome in release.outcomes if not outcome.is_passed]
    suite = ET.Element(
        "testsuite",
        name="dropkit gate",
        tests=str(len(release.outcomes)),
        failures=str(len(failed)),
        errors="0",
    )
    for outcome in release.outcomes:
        case = ET.SubElement(
            suite, "testcase", classname="dropkit.gate", name=_plain(_name(outcome))
        )
        if not outcome.is_passed:
            message = f"{outcome.found}; must be {outcome.limit}"
            failure = ET.SubElement(case, "failure", message=_plain(message))
            failure.text = _plain(f"{outcome.next_step} ({outcome.source})")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _name(outcome: Outcome) -> str:
    return f"{outcome.rule} ({outcome.report})" if outcome.report else outcome.rule


def _plain(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
