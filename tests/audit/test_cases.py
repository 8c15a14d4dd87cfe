"""Every rule finds what it is for, says the stored words, and is silent where all is well.

After a change of words, ``DK_WRITE_EXPECTED=1 pytest tests/audit/test_cases.py`` stores the new ones.
"""

import os
import warnings
from pathlib import Path

import pytest

from dropkit.auditing.rule import FAMILIES
from dropkit.auditing.rules import RULES
from support_cases import Case, load_cases, told

EXPECTED = Path(__file__).parent / "expected"
CASES = load_cases()
BAD = [(code, case) for code, file in CASES.items() for case in file.BAD]
GOOD = [(code, case) for code, file in CASES.items() for case in file.GOOD]


def _ids(pairs: list[tuple[str, Case]]) -> list[str]:
    return [f"{code} {case.name}" for code, case in pairs]


@pytest.fixture(autouse=True)
def _warnings_are_the_models() -> None:
    """What torch says of a planted fault is not the test's."""
    warnings.simplefilter("ignore")


@pytest.mark.parametrize(("code", "case"), BAD, ids=_ids(BAD))
def test_bad_case_is_found(code, case) -> None:
    """The rule finds the fault, and no other rule finds what is not there."""
    found = {finding.code for finding in case.audit().findings}
    assert code in found
    assert found - {code} == set(case.also)


@pytest.mark.parametrize(("code", "case"), GOOD, ids=_ids(GOOD))
def test_good_case_is_silent(code, case) -> None:
    """No rule at all says anything."""
    del code
    assert [] == [told(finding) for finding in case.audit().findings]


@pytest.mark.parametrize("code", CASES)
def test_words(code) -> None:
    """What the rule says of its bad cases is what is stored, word for word."""
    parts = []
    for case in CASES[code].BAD:
        own = [told(finding) for finding in case.audit().findings if finding.code == code]
        parts.append("\n".join([f"== {case.name}", *own]))
    text = "\n\n".join(parts) + "\n"
    path = EXPECTED / f"{code.lower()}.txt"
    if os.environ.get("DK_WRITE_EXPECTED"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_every_rule_has_cases() -> None:
    """Each rule has a file of cases, with at least one bad and one good; no file is left over."""
    assert {rule.code for rule in RULES} == set(CASES)
    assert all(file.BAD and file.GOOD for file in CASES.values())


def test_rules_are_told_apart() -> None:
    """Codes and names are unique, and the tuple is sorted by code."""
    codes = [rule.code for rule in RULES]
    assert sorted(set(codes)) == codes
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_rule_explains_itself(rule) -> None:
    """A rule has a summary, the three headings in order, a source, a family and a severity."""
    assert ["Why it matters", "Instead", "When it is fine"] == list(rule.sections())
    assert all(rule.sections().values())
    assert rule.summary().endswith(".")
    assert rule.source
    assert rule.since
    assert rule.code[3] in FAMILIES
    assert rule.severity in ("error", "warning", "info")
    assert rule.__module__.rpartition(".")[2] == rule.name.replace("-", "_")
