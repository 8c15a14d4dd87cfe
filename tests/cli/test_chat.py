"""``dropkit chat`` answers line by line, with a hint beside each answer."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropkit.cli.app import app
from dropkit.errors import DataError, DkError, OptionError
from dropkit.finetuning.chatting import Chat
from dropkit.finetuning.models import old_names
from support_language_models import new_tokenizer, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and adapters on it with dropout and without."""
    import peft
    from transformers import AutoModelForCausalLM

    path: Path = tmp_path_factory.mktemp("chat")
    write_model(path / "model")
    for name, rate in (("adapter", 0.5), ("plain", 0.0)):
        base = AutoModelForCausalLM.from_pretrained(path / "model")
        config = peft.LoraConfig(
            r=4, lora_dropout=rate, init_lora_weights=False, target_modules=["q_proj", "v_proj"]
        )
        with old_names():
            peft.get_peft_model(base, config).save_pretrained(path / name)
        new_tokenizer().save_pretrained(path / name)
    (path / "empty").mkdir()
    return path


def _chat(folder: Path, name: str, text: str, *options: str) -> str:
    arguments = ["chat", str(folder / name), *options]
    done = CliRunner().invoke(app, arguments, input=text, catch_exceptions=False)
    assert 0 == done.exit_code, done.output
    return done.output


def test_each_answer_has_a_hint(folder: Path) -> None:
    """As many as questions, until the input ends or says so."""
    said = _chat(folder, "adapter", "Where is Paris?\n\nAnd Rome?\n/quit\nNobody reads this.\n")
    assert 2 == len(re.findall(r"of 4 sub-networks say", said))
    assert "a hint, not truth" in said
    assert 1 == len(re.findall("sub-networks say", _chat(folder, "adapter", "Hello")))


def test_no_sub_networks(folder: Path) -> None:
    """Not asked for, or trained without dropout: it is said, and the answer comes all the same."""
    assert "sub-networks" not in _chat(folder, "adapter", "Hello\n", "--samples", "0")
    said = _chat(folder, "plain", "Hello\n")
    assert "It was trained without dropout, so there are no sub-networks to ask." in said
    assert "a hint" not in said


def test_whole_model_and_another_base(folder: Path) -> None:
    """A folder with a model of its own; a base that the user names."""
    assert "there are no sub-networks" in _chat(folder, "model", "Hello\n")
    said = _chat(folder, "adapter", "Hello\n", "--model", str(folder / "model"))
    assert "sub-networks say" in said


def test_same_question_same_answer(folder: Path) -> None:
    """The model is left as it was, and what was said before is part of the next question."""
    first, second = (Chat.load(folder / "adapter", samples=4) for _ in range(2))
    a = first.reply("Where?")
    second.samples = 0
    assert a.text == second.reply("Where?").text
    assert ["user", "assistant"] == [turn["role"] for turn in first.turns]
    assert not any(module.training for module in first.model.modules())


def test_full_context_forgets_the_oldest(folder: Path) -> None:
    """The model of the test reads 128 tokens."""
    chat = Chat.load(folder / "adapter", samples=0)
    chat.longest = 8
    for _ in range(6):
        chat.reply("Where do I find bread in Paris?")
    assert len(chat.turns) < 12
    assert chat.turns[0]["role"] == "user"


def test_line_that_is_too_long(folder: Path) -> None:
    """One sentence, nothing of it is kept, and the next line is answered."""
    said = _chat(folder, "adapter", "word " * 200 + "\nHello\n", "--samples", "0")
    assert "a question must have at most 32 tokens, to leave room for an answer; got " in said
    chat = Chat.load(folder / "adapter", samples=0)
    with pytest.raises(DataError, match=r"^a question must have at most 32 tokens, to leave room"):
        chat.reply("word " * 200)
    assert [] == chat.turns


def test_whole_model_that_drops(folder: Path, tmp_path: Path) -> None:
    """Its sub-networks are asked, too."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "model", attention_dropout=0.3)
    model.save_pretrained(tmp_path / "whole")
    new_tokenizer().save_pretrained(tmp_path / "whole")
    assert "of 4 sub-networks say" in _chat(tmp_path, "whole", "Hello\n")


def test_adapter_without_tokenizer(folder: Path, tmp_path: Path) -> None:
    """As PEFT alone writes it: the base's is taken."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((folder / "adapter" / name).read_bytes())
    assert "sub-networks say" in _chat(tmp_path, ".", "Hello\n")


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    """One sentence each."""
    cases: list[tuple[Path, dict[str, str | int], type[DkError], str]] = [
        (
            folder / "gone",
            {},
            OptionError,
            f"`ADAPTER` must be a folder that exists; got '{folder / 'gone'}'.",
        ),
        (
            folder / "empty",
            {},
            OptionError,
            f"`ADAPTER` must hold adapter_config.json or a whole model; '{folder / 'empty'}' has "
            "neither.",
        ),
        (
            folder / "adapter",
            {"samples": 1},
            OptionError,
            "`samples` must be 0 or at least 2; got 1.",
        ),
    ]
    for place, options, kind, message in cases:
        with pytest.raises(kind, match="^" + re.escape(message) + "$"):
            Chat.load(place, **options)
    with pytest.raises(OptionError, match="which is no folder here"):
        Chat.load(folder / "adapter", base="gone")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 1}), "utf-8")
    message = f"the adapter in '{tmp_path}' cannot be read: 'base_model_name_or_path'."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        Chat.load(tmp_path)
