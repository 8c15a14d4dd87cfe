"""``dropkit finetune`` with bad input: one line, status 2, and nothing left behind."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropkit.cli.app import app
from dropkit.errors import DkError
from support_language_models import write_chats, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and data, good and bad."""
    path: Path = tmp_path_factory.mktemp("finetune")
    write_chats(path / "chats.jsonl")
    write_model(path / "model")
    write_model(path / "untemplated", template=None)
    write_model(path / "small", rows=300)  # fewer rows than its tokenizer has tokens
    good = (path / "chats.jsonl").read_text("utf-8").splitlines()
    (path / "corrupt.jsonl").write_text(
        "\n".join([*good[:4], '{"messages": [', *good[4:]]), "utf-8"
    )
    (path / "empty.jsonl").write_text("", "utf-8")
    (path / "one.jsonl").write_text("\n".join(good[:2]), "utf-8")
    (path / "nothing").mkdir()
    return path


CASES = {
    "corrupt line": ({"--data": "corrupt.jsonl"}, "corrupt.jsonl:5"),
    "empty file": ({"--data": "empty.jsonl"}, "is empty: there is nothing to learn from."),
    "missing file": ({"--data": "gone.jsonl"}, "gone.jsonl"),
    "too few": ({"--data": "one.jsonl"}, "must leave at least 2 examples on each side"),
    "no chat template": ({"--model": "untemplated"}, "has no chat template"),
    "tokenizer of another model": ({"--model": "small"}, "does not belong to the model"),
    "no model": ({"--model": "gone"}, "which is no folder here"),
    "empty folder": ({"--model": "nothing"}, "cannot be read as one"),
    "rate": ({"--rates": "0,1.5"}, "`rates` must be a drop rate in [0, 1]; got 1.5."),
    "rates": ({"--rates": "a,b"}, "`--rates` must be numbers with commas between; got 'a,b'."),
    "one rate": ({"--rates": "0.1"}, "must hold at least two different drop rates"),
    "site rates": (
        {"--site-rates": "x"},
        "`--site-rates` must be PATTERN=RATE or one of bert, finetune, gpt; got 'x'.",
    ),
    "targets": ({"--targets": "gone"}, "Its linear layers: down_proj"),
    "layers": ({"--last-layers": "9"}, "`last_layers` must be at most the model's 2; got 9."),
    "share": ({"--held-out": "1.0"}, "`held_out` must be a share in (0, 1); got 1.0."),
    "general": ({"--general": "gone.txt"}, "`general` must be a text file; got "),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, folder: Path, tmp_path: Path) -> None:
    """One sentence that names what is wrong; no folder, whole or half."""
    changes, words = CASES[name]
    options = {
        "--model": "model",
        "--data": "chats.jsonl",
        "--rates": "0,0.1",
        "--out": str(tmp_path / "adapter"),
        "--epochs": "1",
        **changes,
    }
    for option in ("--model", "--data", "--general"):
        if option in options:
            options[option] = str(folder / options[option])
    arguments = ["finetune", *(part for pair in options.items() for part in pair)]
    with pytest.raises(DkError) as caught:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    message = str(caught.value)
    assert words in message
    assert message.rstrip().endswith((".", ":", "]", "]]")) or "\n" in message
    assert [] == list(tmp_path.iterdir())


def test_line_and_status(dropkit, folder: Path, tmp_path: Path) -> None:
    """In a process: the sentence on standard error, status 2."""
    done = dropkit(
        "finetune", "--model", folder / "untemplated", "--data", folder / "chats.jsonl",
        "--out", "adapter", cwd=tmp_path,
    )  # fmt: skip
    assert 2 == done.returncode
    assert done.stderr == (
        f"dropkit: the tokenizer of `{folder / 'untemplated'}` has no chat template, so it does "
        "not say how turns are written. Choose one: `--chat-template FILE`, or `--chat-template "
        "plain` for a model that knows no turns.\n"
    )
    assert not (tmp_path / "adapter").exists()


def test_plain_template_serves(folder: Path, tmp_path: Path) -> None:
    """A model without a template is trained with the plain one."""
    arguments = [
        "finetune", "--model", str(folder / "untemplated"), "--data", str(folder / "chats.jsonl"),
        "--out", str(tmp_path / "adapter"), "--chat-template", "plain", "--rates", "0,0.1",
        "--epochs", "1", "--replicates", "1", "--threads", "1",
    ]  # fmt: skip
    assert 0 == CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code
    report = json.loads((tmp_path / "adapter" / "report.json").read_text("utf-8"))
    assert "plain" == report["settings"]["chat_template"]
