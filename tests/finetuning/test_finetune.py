"""A fine-tuning from the data to the adapter, stopped and gone on with, and what it leaves."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from dropkit.cli.app import app
from dropkit.errors import OptionError, StoreError
from dropkit.finetuning.engine import adapter_arms, finetune, finetune_study
from dropkit.finetuning.publish import check_out, publish
from dropkit.finetuning.result import STEP_PARTS, FinetuneResult
from dropkit.finetuning.settings import Settings
from dropkit.finetuning.watching import Steps

PLAIN_PEFT = """
import sys
sys.modules["dropkit"] = None  # an import of it fails
import torch, peft, transformers
base = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
model = peft.PeftModel.from_pretrained(base, sys.argv[2]).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[2])
ids = tokenizer("Where", return_tensors="pt").input_ids
print(float(model(ids).logits.double().abs().sum()))
"""


def _settings(folder: Path, **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "rates": (0.0, 0.3),
        "epochs": 2,
        "learning_rate": 3e-3,
        "max_length": 96,
        "replicates": 1,
    }
    return Settings(str(folder / "model"), str(folder / "chats.jsonl"), **{**given, **changes})


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The command's result, and what it said."""
    out = tmp_path_factory.mktemp("out") / "adapter"
    options = {
        "--model": folder / "model",
        "--data": folder / "chats.jsonl",
        "--general": __file__,
        "--rates": "0,0.3",
        "--out": out,
        "--epochs": 2,
        "--max-length": 96,
        "--replicates": 2,
        "--canaries": 2,
        "--threads": 1,
        "--learning-rate": 0.003,
    }
    arguments = ["finetune", *(str(part) for pair in options.items() for part in pair)]
    ran = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert 0 == ran.exit_code, ran.output
    return out, ran.output


def test_command_says_what_it_found(done: tuple[Path, str]) -> None:
    """Table, verdict, memorization, speed."""
    _, said = done
    for words in ("no dropout", "dropout 0.3", "What each memorized", "steps a second", "Written:"):
        assert words in said


def test_command_leaves_a_whole_folder(done: tuple[Path, str]) -> None:
    """Adapter, tokenizer, card and reports under the final name; nothing beside it."""
    out, _ = done
    names = {path.name for path in out.iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "README.md",
        "report.html",
        "report.json",
    } <= names
    assert ["adapter"] == [path.name for path in out.parent.iterdir()]


def test_report_has_every_number(done: tuple[Path, str]) -> None:
    """Curves from epoch 0, memorization of every replicate, samples, data, speed."""
    report = json.loads((done[0] / "report.json").read_text("utf-8"))
    assert ("dropkit finetune", 1) == (report["format"], report["version"])
    assert ["no dropout", "dropout 0.3"] == [arm["name"] for arm in report["arms"]]
    for arm in report["arms"]:
        assert [0, 1, 2] == [moment["epoch"] for moment in arm["curve"]]
        assert 2 == len(arm["memorization"])
        assert {"held_out_loss", "membership_auc", "exposure", "forgotten"} <= set(arm["measures"])
    assert report["arms"][0]["curve"][0] == report["arms"][1]["curve"][0]  # the same start
    assert report["arms"][0]["curve"][2] != report["arms"][1]["curve"][2]
    assert {"no dropout", "dropout 0.3"} == set(report["samples"][0]["answers"])
    assert 32 == report["data"]["train"]["n_conversations"]
    assert report["speed"]["steps_per_s"] > 0
    assert {*STEP_PARTS, "evaluation", "memorization", "loading"} <= set(report["speed"]["parts"])
    assert min(report["speed"]["parts"].values()) > 0
    assert report["adapter"]["arm"] in {"no dropout", "dropout 0.3"}


def test_adapter_loads_in_plain_peft(done: tuple[Path, str], folder: Path) -> None:
    """In a process that cannot import dropkit; its config names the rate it was trained with."""
    out, _ = done
    ran = subprocess.run(
        [sys.executable, "-c", PLAIN_PEFT, str(folder / "model"), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr
    assert float(ran.stdout) > 0
    config = json.loads((out / "adapter_config.json").read_text("utf-8"))
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert report["adapter"]["rate"] == config["lora_dropout"]


def test_model_card_names_rate_and_base(done: tuple[Path, str], folder: Path) -> None:
    """Front matter, a row an arm, and the verdict."""
    card = (done[0] / "README.md").read_text("utf-8")
    assert card.startswith(f"---\nbase_model: {folder / 'model'}\nlibrary_name: peft\n---\n")
    assert "| no dropout |" in card
    assert "membership AUC" in card


def _adapter_bits(run: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(run.glob("arm*/best/adapter_model.safetensors")):
        for name, weights in load_file(path).items():
            found[f"{path.parent.parent.name}/{name}"] = weights
    return found


def test_interrupted_run_ends_with_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off in the middle of the second arm's second epoch, then gone on with."""
    settings = _settings(folder, checkpoint_every=3)
    whole = finetune(settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        was = Steps.on_step_end

        def cut_off(self: Steps, args: Any, state: Any, control: Any, **rest: Any) -> None:
            was(self, args, state, control, **rest)
            if self._trial.arm.name == "dropout 0.3" and state.global_step == 7:
                raise KeyboardInterrupt

        patch.setattr(Steps, "on_step_end", cut_off)
        stopped = finetune(settings, tmp_path / "cut")
    assert stopped.study.was_stopped
    checkpoints = sorted(path.name for path in (tmp_path / "cut").glob("arm1*/checkpoints/*"))
    assert ["checkpoint-6"] == checkpoints
    steps: list[int] = []
    with monkeypatch.context() as patch:
        was = Steps.on_step_end

        def count(self: Steps, args: Any, state: Any, control: Any, **rest: Any) -> None:
            steps.append(state.global_step)
            was(self, args, state, control, **rest)

        patch.setattr(Steps, "on_step_end", count)
        resumed = finetune(settings, tmp_path / "cut")
    assert [7, 8] == steps  # nothing is run twice but the step that was lost
    expected, got = _adapter_bits(tmp_path / "whole"), _adapter_bits(tmp_path / "cut")
    assert set(expected) == set(got)
    assert 2 * 8 == len(expected)
    for name, weights in expected.items():
        assert torch.equal(weights, got[name]), name
    assert [arm.curve for arm in whole.arms] == [arm.curve for arm in resumed.arms]


def test_run_of_other_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    """What was changed is named."""
    finetune_study(_settings(folder), tmp_path)
    message = (
        f"'{tmp_path}' holds a fine-tuning that was begun with another learning_rate. Go on with "
        "the same command, or take another name."
    )
    with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
        finetune_study(_settings(folder, learning_rate=1e-4), tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"*lora_dropout*": 0.2, "*": 0.0}),
        ({"site_rates": {"*q_proj*": 0.1}}, {"*q_proj*": 0.1, "*lora_dropout*": 0.2, "*": 0.0}),
        ({"site_rates": {"*": 0.1}}, {"*lora_dropout*": 0.2, "*": 0.1}),
        ({"is_full": True}, {"*": 0.2}),
        ({"is_full": True, "site_rates": {"*attn*": 0.0}}, {"*attn*": 0.0, "*": 0.2}),
    ],
)
def test_rates_of_an_arm(folder: Path, changes: dict[str, Any], expected: dict[str, float]) -> None:
    """The user's patterns come first, then the arm's place, then what is left."""
    arms = adapter_arms(_settings(folder, rates=(0.2, 0.0), **changes))
    assert ["no dropout", "dropout 0.2"] == [arm.name for arm in arms]
    assert list(expected.items()) == list(arms[1].rates.items())  # type: ignore[union-attr]


def test_full_disk_leaves_no_half_adapter(
    done: tuple[Path, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line; what was at the final name is still whole, and nothing lies beside it."""
    result = finetune(_settings(folder, epochs=1), tmp_path / "run")
    out = tmp_path / "adapter"
    shutil.copytree(done[0], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    message = (
        f"'{out}' cannot be written: No space left on device. Nothing is lost: the same command "
        "goes on from here when there is room."
    )
    for place in ("dropkit.finetuning.publish.shutil.copytree", "pathlib.Path.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            with pytest.raises(StoreError, match="^" + re.escape(message) + "$"):
                publish(result, tmp_path / "run", out)
        assert before == {path.name: path.read_bytes() for path in out.iterdir()}
        assert {"adapter", "run"} == {path.name for path in tmp_path.iterdir()}
    publish(result, tmp_path / "run", out)
    assert result.adapter is not None
    kept = json.loads((out / "adapter_config.json").read_text("utf-8"))
    assert result.adapter.rate == kept["lora_dropout"]


def test_taken_name_is_refused(done: tuple[Path, str], tmp_path: Path) -> None:
    """Before hours are spent."""
    out, _ = done
    message = (
        f"`--out` must be a folder that is not there yet; '{out}' is. Take another name, or "
        "--overwrite."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        check_out(out, overwrite=False)
    check_out(out, overwrite=True)
    with pytest.raises(OptionError, match="replaces what dropkit wrote"):
        check_out(tmp_path, overwrite=True)
    with pytest.raises(OptionError, match="must lie in a folder that exists"):
        check_out(tmp_path / "a" / "b", overwrite=False)


def test_classifier(folder: Path, tmp_path: Path) -> None:
    """Labelled texts: accuracy in place of memorization; the head is trained and kept too."""
    lines = [
        json.dumps({"text": f"{word} {k}", "label": label})
        for word, label in (("bread in Paris", "food"), ("shoes in Oslo", "wear"))
        for k in range(12)
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), "utf-8")
    settings = dataclasses.replace(
        _settings(folder), data=str(tmp_path / "texts.jsonl"), task="classify", epochs=3
    )
    result: FinetuneResult = finetune(settings, tmp_path / "run")
    assert ["food", "wear"] == result.data["labels"]
    assert result.arms[0].curve[-1].held_out_perplexity is None
    assert result.arms[0].curve[-1].train_loss < result.arms[0].curve[0].train_loss
    publish(result, tmp_path / "run", tmp_path / "out")
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert any("score" in name for name in weights)


def test_full_fine_tuning(folder: Path, tmp_path: Path) -> None:
    """All weights are trained; what comes out loads with transformers."""
    from transformers import AutoModelForCausalLM

    settings = _settings(folder, is_full=True, epochs=1)
    result = finetune(settings, tmp_path / "run")
    assert result.about["trained"] == result.about["parameters"]
    publish(result, tmp_path / "run", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(folder / "model")
    differs = [
        not torch.equal(a, b) for a, b in zip(model.parameters(), base.parameters(), strict=True)
    ]
    assert all(differs)
