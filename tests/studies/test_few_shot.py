"""The study in examples/ that fine-tunes an encoder on few messages."""

import importlib
import itertools
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch

import dropkit
from dropkit.studies.trial import Trial

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def few_shot(monkeypatch, tmp_path) -> ModuleType:
    """The module, imported as `dropkit study` does: a tiny encoder, made-up messages of 3 intents."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "banking77").mkdir()
    for part in ("train", "test"):
        (tmp_path / "banking77" / f"{part}.csv").touch()
    monkeypatch.setenv("DROPKIT_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    module = importlib.import_module("few_shot")
    tokens = torch.randint(1, 50, (60, 9)) * (torch.arange(9) < torch.randint(3, 10, (60, 1)))
    made_up = module.Messages(tokens, torch.arange(60) % 3)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )

    def encoder() -> torch.nn.Module:
        model = transformers.BertModel(config, add_pooling_layer=False)
        dropkit.accelerate(model)
        return model

    tiny = {"WIDTH": 8, "EPOCHS": 2, "BATCH": 8, "N_VALIDATION": 20, "encoder": encoder}
    for name, value in {**tiny, "messages": lambda _: made_up}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_few_shot_trains_in_every_arm(few_shot) -> None:
    """Arms differ, each the same again; all metrics are finite, and evaluation does not vary."""
    found = [few_shot.fit(Trial(arm, 0)) for arm in few_shot.ARMS]
    assert len({metrics["validation_loss"] for metrics in found}) == len(few_shot.ARMS)
    assert found[1] == few_shot.fit(Trial(few_shot.ARMS[1], 0))
    assert all(math.isfinite(value) for metrics in found for value in metrics.values())
    assert {0.0} == {metrics["evaluation_difference"] for metrics in found}
    left_on = {
        arm.name: m["neighbours_left_on"] for arm, m in zip(few_shot.ARMS, found, strict=True)
    }
    assert left_on["no dropout"] == left_on["0.3, head only"] == 1.0
    assert left_on["0.3"] < 1.0


def test_few_shot_rates_reach_their_places(few_shot) -> None:
    """A rate reaches hidden states, attention and the head; or the head alone."""
    model = few_shot.Classifier(few_shot.encoder(), 3).train()
    batch = few_shot.messages("train").tokens[:2]

    def rates(arm: str) -> dict[str, float]:
        [rate] = [one.rates for one in few_shot.ARMS if one.name == arm]
        with dropkit.set_rates(model, rate):
            return {site.name: site.rate for site in dropkit.find_sites(model, batch)}

    everywhere = rates("0.3")
    assert {0.3} == set(everywhere.values())
    assert any("attention.self" in name for name in everywhere)
    assert {"drop"} == {name for name, rate in rates("0.3, head only").items() if rate}


def test_few_shot_draws_so_many_an_intent(few_shot) -> None:
    """Each intent has its ten, others under another seed."""
    labels = torch.arange(60) % 3
    chosen = few_shot.drawn(labels, 10, seed=1)
    assert {0: 10, 1: 10, 2: 10} == Counter(labels[chosen].tolist())
    assert len(set(chosen.tolist())) == 30
    assert chosen.tolist() == few_shot.drawn(labels, 10, seed=1).tolist()
    assert chosen.tolist() != few_shot.drawn(labels, 10, seed=2).tolist()


@pytest.mark.parametrize("order", [None, 3])
def test_few_shot_batches_hold_like_lengths(few_shot, order) -> None:
    """Every message once, none cut, and no batch reaches into the lengths of another."""
    messages = few_shot.messages("train")
    generator = None if order is None else torch.Generator().manual_seed(order)
    batches = list(messages.batches(8, generator))
    whole = sorted(row[row != 0].tolist() for row in messages.tokens)
    assert whole == sorted(row[row != 0].tolist() for batch in batches for row in batch.tokens)
    lengths = sorted(sorted((batch.tokens != 0).sum(1).tolist()) for batch in batches)
    assert all(one[-1] <= another[0] for one, another in itertools.pairwise(lengths))


def test_few_shot_knows_the_nearest(few_shot) -> None:
    """Where all messages are learned and asked alike, the nearest one is itself."""
    model = few_shot.Classifier(few_shot.encoder(), 3).train()
    everything = few_shot.messages("train")
    found = few_shot.measured(model, everything, everything)
    assert (0.0, 0.0, 0.0) == tuple(
        found[name] for name in ("nearest_error", "wrong_with_nearest", "gap")
    )


def test_data_that_is_missing(tmp_path) -> None:
    """Without the data one sentence says which file, where it was sought, and what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "dropkit", "study", EXAMPLES / "few_shot.py"],
        env={**os.environ, "DROPKIT_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (2, "") == (done.returncode, done.stdout)
    where = str(tmp_path / "banking77" / "train.csv")
    assert re.fullmatch(
        r"dropkit: `few_shot\.py` line \d+ raised DataError: "
        + re.escape(f"the data must lie at {where!r}; there is none. ")
        + re.escape("Set DROPKIT_DATA to the folder that holds banking77/train.csv.\n"),
        done.stderr,
    )
