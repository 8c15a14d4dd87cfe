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
    "corrupt line": (
        {"--data": "corrupt.jsonl"},
        "`{folder}/corrupt.jsonl` has 1 bad line of 41; none was taken. corrupt.jsonl:5 is not "
        "JSON: Expecting value at column 15: '{{\"messages\": ['.",
    ),
    "empty file": (
        {"--data": "empty.jsonl"},
        "`{folder}/empty.jsonl` is empty: there is nothing to learn from.",
    ),
    "missing file": ({"--data": "gone.jsonl"}, "`{folder}/gone.jsonl` does not exist."),
    "too few": (
        {"--data": "one.jsonl"},
        "`{folder}/one.jsonl` must leave at least 2 examples on each side of the split; got 1 to "
        "learn from and 1 held out.",
    ),
    "no chat template": (
        {"--model": "untemplated"},
        "the tokenizer of `{folder}/untemplated` has no chat template, so it does not say how "
        "turns are written. Choose one: `--chat-template FILE`, or `--chat-template plain` for a "
        "model that knows no turns.",
    ),
    "tokenizer of another model": (
        {"--model": "small"},
        "the tokenizer of `{folder}/small` does not belong to the model: its token 'ĠDelhi' has "
        "the number 365, and the model's embedding has 300 rows. Take the tokenizer of the "
        "model's own folder.",
    ),
    "no model": (
        {"--model": "gone"},
        "`model` must be a folder, or a name on the hub; '{folder}/gone' is neither.",
    ),
    "empty folder": (
        {"--model": "nothing"},
        "`model` must be a folder as save_pretrained writes it; '{folder}/nothing' has no "
        "config.json.",
    ),
    "rate": ({"--rates": "0,1.5"}, "`rates` must be a drop rate in [0, 1]; got 1.5."),
    "rates": ({"--rates": "a,b"}, "`--rates` must be numbers with commas between; got 'a,b'."),
    "one rate": (
        {"--rates": "0.1"},
        "`rates` must hold at least two different drop rates, 0 among them to see whether dropout "
        "helps; got 0.1.",
    ),
    "site rates": (
        {"--site-rates": "x"},
        "`--site-rates` must be PATTERN=RATE or one of bert, finetune, gpt; got 'x'.",
    ),
    "targets": (
        {"--targets": "gone"},
        "`targets` must name layers of the model; got gone for a LlamaForCausalLM. Its linear "
        "layers: down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj.",
    ),
    "layers": ({"--last-layers": "9"}, "`last_layers` must be at most the model's 2; got 9."),
    "share": ({"--held-out": "1.0"}, "`held_out` must be a share in (0, 1); got 1.0."),
    "general": (
        {"--general": "gone.txt"},
        "`general` must be a text file; got '{folder}/gone.txt'.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, folder: Path, tmp_path: Path) -> None:
    """The whole sentence; no folder, whole or half."""
    changes, sentence = CASES[name]
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
    assert sentence.format(folder=folder) == str(caught.value)
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
