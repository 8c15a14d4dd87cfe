"""``dropkit trace`` takes a model, a batch and a loss by name, and writes what it is told to."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropkit.cli.app import app
from dropkit.errors import OptionError

MODEL = """
import torch
from torch import nn


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))


batch = torch.ones(6, 4)
number = 3


def loss(y):
    return y.square().mean(1)
"""


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A user's file, of a name of its own: modules stay loaded."""
    path = tmp_path / f"traced_{re.sub(r'[^a-z]', '_', request.node.name.lower())}.py"
    path.write_text(MODEL, "utf-8")
    return str(path)


def test_trace(file: str, tmp_path: Path) -> None:
    """It prints a row, and writes page, numbers and picture."""
    paths = [tmp_path / name for name in ("a.html", "a.json", "a.svg")]
    options = ["--batch", f"{file}:batch", "--loss", f"{file}:loss", "--samples", "4"]
    for option, path in zip(("--html", "--json", "--picture"), paths, strict=True):
        options += [option, str(path)]
    done = CliRunner().invoke(app, ["trace", f"{file}:model", *options], catch_exceptions=False)
    assert 0 == done.exit_code
    assert "leverage on loss" in done.output
    assert all(path.is_file() for path in paths)
    assert ["1"] == [row["site"]["name"] for row in json.loads(paths[1].read_text())["sites"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}:number", "--batch", "{file}:batch"], "`OBJECT` must be an nn.Module; got a int."),
        (
            ["{file}:model", "--batch", "{file}:batch", "--html", "/no/where/a.html"],
            "`--html` must lie in a folder that exists; got '/no/where'.",
        ),
    ],
)
def test_what_is_refused(file: str, arguments: list[str], message: str) -> None:
    """One sentence names the option and what is wrong."""
    arguments = [argument.format(file=file) for argument in arguments]
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        CliRunner().invoke(app, ["trace", *arguments], catch_exceptions=False)
