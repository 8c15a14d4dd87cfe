"""``dropkit probe`` asks what a file holds, says what it found, and exits by it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropkit.cli.app import app
from dropkit.errors import DataError, OptionError

SERVICE = """
import torch
from torch import nn

model = nn.Sequential(nn.Dropout(0.5))
number = 3


def noisy(text):
    return {"embedding": model(torch.ones(64))}


def calm(text):
    return {"decision": len(text), "probabilities": {"a": 0.5, "b": 0.5}}
"""


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A user's file, of a name of its own: modules stay loaded."""
    path = tmp_path / f"probed_{re.sub(r'[^a-z]', '_', request.node.name.lower())}.py"
    path.write_text(SERVICE, "utf-8")
    return str(path)


@pytest.fixture
def requests(tmp_path: Path) -> str:
    """Three texts."""
    path = tmp_path / "requests.txt"
    path.write_text("one\n\ntwo\nthree\n", "utf-8")
    return str(path)


def test_a_noisy_service(file: str, requests: str, tmp_path: Path) -> None:
    """The complaint, its cause, the numbers as JSON, and status 1."""
    out = tmp_path / "probe.json"
    command = ["probe", f"{file}:noisy", "--requests", requests, "--model", f"{file}:model"]
    done = CliRunner().invoke(app, [*command, "--json", str(out)], catch_exceptions=False)
    assert 1 == done.exit_code
    assert "Noisy retrieval: yes" in done.output
    assert "Cause: Dropout: with the model's silenced it is gone." in done.output
    assert 3 == json.loads(out.read_text("utf-8"))["requests"]


def test_a_calm_service(file: str, tmp_path: Path) -> None:
    """Labels come with the requests; status 0."""
    lines = [{"request": "x", "label": label} for label in ("a", "b")]
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    command = ["probe", f"{file}:calm", "--requests", str(path)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert 0 == done.exit_code
    assert "Confusing hand-over: no" in done.output
    assert "calibration error is" in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "`--requests` must hold JSON in each line; line 1 of '{}' is none."),
        (
            '{"request": 1, "label": 2}\n3',
            "`--requests` must have a label in each line or in none; 1 of 2 have one.",
        ),
        (None, "`--requests` must be a UTF-8 file that can be read; '{}' cannot."),
    ],
)
def test_bad_requests(file: str, tmp_path: Path, text: str | None, message: str) -> None:
    """One sentence names the line."""
    path = tmp_path / "requests.jsonl"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(DataError, match="^" + re.escape(message.replace("{}", str(path))) + "$"):
        CliRunner().invoke(
            app, ["probe", f"{file}:calm", "--requests", str(path)], catch_exceptions=False
        )


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (
            "http://127.0.0.1:1/",
            ["--model", "{file}:model"],
            "`--model` must be behind a function; got the URL of an endpoint.",
        ),
        (
            "{file}:calm",
            ["--model", "{file}:number"],
            "`--model` must be an nn.Module; got a int.",
        ),
        (
            "{file}:calm",
            ["--json", "/no/where/a.json"],
            "`--json` must lie in a folder that exists; got '/no/where'.",
        ),
    ],
)
def test_bad_options(
    file: str, requests: str, target: str, options: list[str], message: str
) -> None:
    """One sentence says what is wrong."""
    arguments = [one.replace("{file}", file) for one in (target, *options)]
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        CliRunner().invoke(
            app, ["probe", *arguments, "--requests", requests], catch_exceptions=False
        )
