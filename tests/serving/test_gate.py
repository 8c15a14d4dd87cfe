"""A gate opens on evidence only, and says what to do where it does not."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import nn

import dropkit
from dropkit.errors import DataError, OptionError
from dropkit.reporting._json import json_text
from dropkit.reporting.gate_junit import gate_junit
from dropkit.serving import Outcome, Release, gate
from dropkit.serving.releasing import SECTIONS
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial
from dropkit.uncertainty import Handoff, reliability

Put = Callable[[str, Any], Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a policy (text) or a report (anything with `to_dict`, or plain data)."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        if not isinstance(content, str):
            data = content.to_dict() if hasattr(content, "to_dict") else content
            content = json_text(data)
        path.write_text(content, "utf-8")
        return path

    return write


def _audit(*, is_clean: bool) -> dropkit.Audit:
    norms = [] if is_clean else [nn.BatchNorm1d(4)]
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), *norms, nn.Linear(4, 2))
    return dropkit.audit(model, torch.randn(16, 4, generator=torch.Generator().manual_seed(1)))


def _fit(trial: Trial) -> dict[str, float]:
    noise = torch.Generator().manual_seed(trial.seed("split"))
    loss = 1.0 + trial.arm.highest_rate + 0.01 * torch.randn((), generator=noise).item()
    return {"validation_loss": loss + 0.001 * trial.replicate * trial.arm.highest_rate}


def _study() -> Any:
    """One in which dropout harms for certain."""
    return Study(_fit, [Arm("none"), Arm("half", rates=0.5)], replicates=6).run()


def _reliability() -> Any:
    probabilities = torch.tensor([[0.8, 0.2]]).repeat(10, 1)
    return reliability(probabilities, torch.tensor([0] * 6 + [1] * 4))  # sure 0.8, right 0.6


def _handoff() -> Handoff:
    return Handoff.fit(
        torch.linspace(0, 1, 600),
        torch.arange(600) >= 300,
        risk=0.1,
        thresholds=torch.tensor([0.6]),
    )


def _reports(put: Put) -> list[Path]:
    return [
        put("audit.json", _audit(is_clean=False)),
        put("study.json", _study()),
        put("calibration.json", _reliability()),
        put("handoff.json", _handoff()),
    ]


def _outcomes(release: Release) -> dict[str, tuple[bool, str]]:
    return {outcome.rule: (outcome.is_passed, outcome.found) for outcome in release.outcomes}


def test_every_line_is_held_against_its_report(put: Put) -> None:
    """Each kind of report is told apart, and each rule reads what it is about."""
    policy = put(
        "policy.toml",
        """
        [audit]
        may-stand = "info"
        rules = ["DRP301"]
        [study]
        decisions = ["helps", "no practical difference"]
        silent = ["underfits"]
        replicates = 6
        [calibration]
        error = 0.1
        worst = 0.25
        [handoff]
        risk = 0.1
        delta = 0.05
        handed-over = 0.5
        examples = 1000
        """,
    )
    release = gate(policy, _reports(put))
    found = _outcomes(release)
    assert not release.is_open
    assert not found["audit.may-stand"][0]
    assert "dropout-before-batch-norm at 1" in found["audit.may-stand"][1]
    assert found["audit.rules"] == (True, "all looked")
    assert not found["study.decisions"][0]
    assert found["study.decisions"][1].startswith("harms: ")
    assert found["study.silent"] == (True, "silent")
    assert found["study.replicates"] == (True, "6")
    assert found["calibration.error"] == (False, "0.2")
    assert found["calibration.worst"] == (True, "0.2")
    assert found["handoff.risk"] == (True, "0.1")
    assert found["handoff.delta"] == (True, "0.05")
    assert found["handoff.handed-over"][0] is False
    assert found["handoff.examples"] == (False, "600")


def test_kept_policy_opens(put: Put) -> None:
    """A clean audit under a strict policy opens the gate."""
    policy = put("policy.toml", '[audit]\nmay-stand = "none"')
    release = gate(policy, [put("audit.json", _audit(is_clean=True))])
    assert release.is_open
    assert release.outcomes[0].found == "no findings"
    assert release.to_dict()["is_open"] is True


def test_missing_report_keeps_the_gate_shut(put: Put) -> None:
    """What nothing was measured for is not kept, and the next step is to measure it."""
    policy = put("policy.toml", '[audit]\nmay-stand = "error"\n[calibration]\nerror = 1.0')
    release = gate(policy, [put("audit.json", _audit(is_clean=True))])
    missing = release.outcomes[1]
    assert not release.is_open
    assert (missing.found, missing.report) == ("no report", None)
    assert missing.next_step == (
        "Hand over the JSON of `dropkit.uncertainty.reliability(...).to_dict()`."
    )


def test_each_report_of_a_kind_counts(put: Put) -> None:
    """Two audits, one of them with a finding: the gate stays shut."""
    policy = put("policy.toml", '[audit]\nmay-stand = "none"')
    reports = [put(f"{clean}.json", _audit(is_clean=clean)) for clean in (True, False)]
    assert [True, False] == [outcome.is_passed for outcome in gate(policy, reports).outcomes]


def test_report_that_no_rule_asks_about_is_named(put: Put) -> None:
    """It does not shut the gate."""
    policy = put("policy.toml", '[audit]\nmay-stand = "none"')
    other = put("calibration.json", _reliability())
    release = gate(policy, [put("audit.json", _audit(is_clean=True)), other])
    assert release.is_open
    assert list(release.unchecked) == [str(other)]


def test_null_is_not_measured(put: Put) -> None:
    """A number that JSON has as null keeps to no limit."""
    report = {**_reliability().to_dict(), "error": None}
    release = gate(put("policy.toml", "[calibration]\nerror = 1"), [put("c.json", report)])
    assert _outcomes(release) == {"calibration.error": (False, "not measured")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must ask for something; it is empty. Sections: {sections}."),
        ("[audit]", "must ask for something; it is empty. Sections: {sections}."),
        ("[audits]", ": there is no section named 'audits'. Did you mean 'audit'?"),
        ("[x]", ": there is no section named 'x'. There are {sections}."),
        ("audit = 3", ": `audit` must be a table; got 3."),
        (
            "[calibration]\neror = 0.1",
            ": there is no key of [calibration] named 'eror'. Did you mean 'error'?",
        ),
        (
            "[calibration]\nerror = true",
            ": `calibration.error` must be a finite number; got True.",
        ),
        ("[calibration]\nerror = nan", ": `calibration.error` must be a finite number; got nan."),
        (
            '[audit]\nmay-stand = "grave"',
            ": `audit.may-stand` must be one of none, info, warning, error; got 'grave'.",
        ),
        (
            '[study]\ndecisions = "helps"',
            ": `study.decisions` must be a list of texts; got 'helps'.",
        ),
        (
            '[study]\ndecisions = ["helped"]',
            ": `study.decisions` must hold words out of helps, harms, no practical difference, "
            "not enough evidence; got 'helped'.",
        ),
    ],
)
def test_policy_that_means_nothing(put: Put, text: str, message: str) -> None:
    """One sentence with the file, the key and what may stand there."""
    policy = put("policy.toml", text)
    sections = ", ".join(section.name for section in SECTIONS)
    said = f"policy '{policy}'" + message.format(sections=sections)
    if not message.startswith(":"):
        said = f"policy '{policy}' " + message.format(sections=sections)
    with pytest.raises(OptionError, match="^" + re.escape(said) + "$"):
        gate(policy, [put("calibration.json", _reliability())])


@pytest.mark.parametrize("text", ["not = [toml", "\x00"])
def test_policy_that_is_no_toml(put: Put, text: str) -> None:
    """The file is named."""
    policy = put("policy.toml", text)
    with pytest.raises(OptionError, match=f"^the policy '{policy}' cannot be read: "):
        gate(policy, [put("calibration.json", _reliability())])


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "nul"])
def test_report_that_is_no_json(put: Put, text: str) -> None:
    """The file is named."""
    policy, report = put("policy.toml", "[calibration]\nerror = 1"), put("r.json", text)
    with pytest.raises(DataError, match=f"^the report '{report}' cannot be read: "):
        gate(policy, [report])


@pytest.mark.parametrize("content", [[], {}, 3, {"findings": []}])
def test_report_of_something_else(put: Put, content: Any) -> None:
    """A JSON file that dropkit has not written is refused with what would do."""
    policy = put("policy.toml", "[calibration]\nerror = 1")
    report = put("r.json", json.dumps(content))
    with pytest.raises(DataError, match=f"^the report '{report}' is none of dropkit's: "):
        gate(policy, [report])


def test_report_with_a_part_missing(put: Put) -> None:
    """The rule that cannot be read is named."""
    report = {**_study().to_dict(), "verdict": {}}
    policy = put("policy.toml", '[study]\ndecisions = ["helps"]')
    message = (
        r"^the report '.*s\.json' says nothing that study\.decisions can be read from: KeyError: "
        r"'decision'\. Was it written by this version of dropkit\?$"
    )
    with pytest.raises(DataError, match=message):
        gate(policy, [put("s.json", report)])


def test_no_reports(put: Put) -> None:
    """There must be one."""
    message = "`reports` must name at least one JSON file; got none."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        gate(put("policy.toml", "[calibration]\nerror = 1"), [])


def test_junit_is_xml_with_a_case_a_rule() -> None:
    """Markup and control characters in what was found do no harm."""
    kept = Outcome("a.b", True, "1", "at most 2", "r.json", "", "")
    broken = dataclasses.replace(
        kept, is_passed=False, found='<script>"\x07', next_step="]]> & more", source="<x>"
    )
    root = ET.fromstring(gate_junit(Release((kept, broken))))
    suite = root[0]
    assert {"tests": "2", "failures": "1"}.items() <= suite.attrib.items()
    assert [case.attrib["name"] for case in suite] == ["a.b (r.json)"] * 2
    assert len(suite[0]) == 0
    assert suite[1][0].attrib["message"] == '<script>"?; must be at most 2'
    assert suite[1][0].text == "]]> & more (<x>)"


def test_every_limit_says_what_to_do() -> None:
    """Each key has a next step that is a sentence, and a source; keys are unique in a section."""
    for section in SECTIONS:
        keys = [limit.key for limit in section.limits]
        assert len(set(keys)) == len(keys)
        for limit in section.limits:
            assert limit.next_step.endswith(".")
            assert limit.source
