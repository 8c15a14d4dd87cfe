"""``dropkit gate`` in a process: a line a rule, an exit status, JUnit XML."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import torch
from typer.testing import CliRunner

from dropkit.cli.app import app
from dropkit.serving.releasing import SECTIONS
from dropkit.uncertainty import reliability


def _report(folder: Path) -> Path:
    probabilities = torch.tensor([[0.8, 0.2]]).repeat(10, 1)
    path = folder / "calibration.json"
    found = reliability(probabilities, torch.tensor([0] * 6 + [1] * 4))
    path.write_text(json.dumps(found.to_dict()), "utf-8")
    return path


def test_open_gate(tmp_path: Path) -> None:
    """Status 0, and it says so."""
    (tmp_path / "policy.toml").write_text("[calibration]\nerror = 0.3", "utf-8")
    done = CliRunner().invoke(
        app, ["gate", str(tmp_path / "policy.toml"), str(_report(tmp_path))], catch_exceptions=False
    )
    assert 0 == done.exit_code
    assert "calibration.error" in done.output
    assert "Release: all 1 rules are kept." in done.output


def test_shut_gate(tmp_path: Path) -> None:
    """Status 1, what to do, and a JUnit file."""
    (tmp_path / "policy.toml").write_text("[calibration]\nerror = 0.1", "utf-8")
    arguments = ["gate", str(tmp_path / "policy.toml"), str(_report(tmp_path))]
    junit = tmp_path / "gate.xml"
    done = CliRunner().invoke(app, [*arguments, "--junit", str(junit)], catch_exceptions=False)
    assert 1 == done.exit_code
    assert "No release: 1 of 1 rules are not kept." in done.output
    assert "Fit a temperature" in done.output
    assert "1" == ET.parse(junit).getroot()[0].attrib["failures"]
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert 1 == done.exit_code
    assert json.loads(done.output)["is_open"] is False


def test_bad_input_ends_with_one_line(dropkit, tmp_path: Path) -> None:
    """Status 2, the sentence, and no file."""
    (tmp_path / "policy.toml").write_text("[calibration]\nerorr = 0.1", "utf-8")
    done = dropkit("gate", "policy.toml", _report(tmp_path), "--junit", "gate.xml", cwd=tmp_path)
    assert 2 == done.returncode
    assert done.stderr == (
        "dropkit: policy 'policy.toml': there is no key of [calibration] named 'erorr'. "
        "Did you mean 'error'?\n"
    )
    assert not (tmp_path / "gate.xml").exists()


def test_keys_are_listed() -> None:
    """Each section with who writes its report, each key with what it asks for."""
    done = CliRunner().invoke(app, ["gate", "--keys"], catch_exceptions=False)
    assert 0 == done.exit_code
    for section in SECTIONS:
        assert f"[{section.name}]  {section.made_by}\n" in done.output
        for limit in section.limits:
            assert f"  {limit.key:<17} {limit.about}\n" in done.output


def test_unreadable_report_ends_with_one_line(dropkit, tmp_path: Path) -> None:
    """Status 2, the sentence, and no file."""
    (tmp_path / "policy.toml").write_text("[calibration]\nerror = 0.1", "utf-8")
    (tmp_path / "half.json").write_text('{"format": ', "utf-8")
    done = dropkit("gate", "policy.toml", "half.json", "--junit", "gate.xml", cwd=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr == (
        "dropkit: the report 'half.json' cannot be read: Expecting value: line 1 column 12 "
        "(char 11).\n"
    )
    assert not (tmp_path / "gate.xml").exists()
