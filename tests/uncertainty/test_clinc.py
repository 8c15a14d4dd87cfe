"""The clinc150 example: what it measures is what it says, and one command does all of it."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from dropkit.errors import DataError

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
WORDS = ["red", "blue", "green", "one", "two", "three", "four", "what", "ever", "else"]


@pytest.fixture(scope="module")
def clinc() -> Iterator[SimpleNamespace]:
    """The modules of the example, which import each other by name."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import clinc
        import clinc_data
        import clinc_measures
        import clinc_models

        yield SimpleNamespace(
            main=clinc, data=clinc_data, measures=clinc_measures, models=clinc_models
        )
    finally:
        sys.path.remove(str(EXAMPLES))


def tokenizer(texts: list[str], padding: bool, return_tensors: str) -> dict[str, Tensor]:
    """Numbers of words, 0 behind the end."""
    assert padding
    assert return_tensors == "pt"
    ids = [torch.tensor([1 + WORDS.index(word) for word in text.split()]) for text in texts]
    padded = nn.utils.rnn.pad_sequence(ids, batch_first=True)
    return {"input_ids": padded, "attention_mask": (padded > 0).long()}


@pytest.fixture
def encoder() -> nn.Module:
    """Six tiny layers with dropout 0.1."""
    return BertModel(
        BertConfig(
            vocab_size=12,
            hidden_size=16,
            num_hidden_layers=6,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=8,
        )
    )


@pytest.fixture
def queries(clinc):
    """Two intents, told apart by their first word, in texts of one to four words."""
    texts = [
        f"{first} {' '.join(WORDS[3 : 3 + n])}".strip() for n in range(4) for first in WORDS[:2]
    ]
    return clinc.data.Queries(texts * 10, torch.tensor([0, 1] * 40))


@pytest.fixture
def file(tmp_path) -> Path:
    """Queries of three intents and of none, as clinc150 has them."""
    inside = [[f"{word} {n}", word] for word in WORDS[:3] for n in WORDS[3:7]]
    outside = [[f"{word} {n}", "oos"] for word in WORDS[7:] for n in WORDS[3:7]]
    found = {"train": inside, "val": inside * 20, "test": inside * 10}
    found |= {"oos_train": outside[:4], "oos_val": outside[4:], "oos_test": outside * 2}
    path = tmp_path / "data_full.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def answers(clinc, logits: Tensor):
    """What is said with and without dropout alike."""
    logits = logits.double()
    p = logits.softmax(-1)
    entropy = -torch.special.xlogy(p, p).sum(-1)
    return clinc.models.Answers(logits, p, entropy, entropy / 2, 1 - p.amax(-1))


def test_parts_are_those_of_the_file(clinc, file) -> None:
    """Intents are numbered by name; those without one are -1, and no model is trained on them."""
    parts, intents = clinc.data.load(file)
    assert intents == ["blue", "green", "red"]
    assert parts["train"].texts[:2] == ["red one", "red two"]
    assert parts["train"].labels.tolist() == [2] * 4 + [0] * 4 + [1] * 4
    assert len(parts["oos_val"]) == 12
    assert "oos_train" not in parts
    assert set(parts["oos_test"].labels.tolist()) == {-1}


@pytest.mark.parametrize("text", ["{", '{"train": []}', '{"train": [["a"]]}'])
def test_another_file_is_refused(clinc, tmp_path, text: str) -> None:
    """What is not clinc150 is named, and why."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    start = f"{str(path)!r} must be clinc150's data_full.json; "
    with pytest.raises(DataError, match="^" + re.escape(start)):
        clinc.data.load(path)


def test_missing_data_get_one_sentence(clinc, tmp_path) -> None:
    """The command says what is missing, and where it is to be had."""
    path = tmp_path / "data_full.json"
    message = (
        f"{path} must be clinc150's data_full.json; it is not there. It is in "
        "https://github.com/clinc/oos-eval: say where it lies with --data."
    )
    with pytest.raises(SystemExit, match="^" + re.escape(message) + "$"):
        clinc.main.main(["--data", str(path)])


def test_average_precision_of_any_numbers(clinc) -> None:
    """Ties count as one step, and numbers outside [0, 1] are told apart."""
    truth = torch.tensor([False, True, False, True])
    expected = 0.5 * 1 + 0.5 * 2 / 3  # at the first half of the positives, and at the second
    for scores in ([0.1, 0.2, 0.2, 0.9], [-90.0, 500.0, 500.0, 501.0]):
        found = clinc.measures.average_precision(torch.tensor(scores), truth)
        assert found == pytest.approx(expected)


def test_detection_of_what_is_told_apart(clinc, monkeypatch) -> None:
    """Sure inside and unsure outside are told apart by every doubt; the other way round by none."""
    monkeypatch.setattr(clinc.measures, "RESAMPLES", 20)
    sure, unsure = (answers(clinc, k * nn.functional.one_hot(torch.arange(30) % 5)) for k in (9, 1))
    for found in clinc.measures.detection(sure, unsure).values():
        assert (found["auroc"].value, found["auroc"].low, found["aupr"].high) == (1.0, 1.0, 1.0)
        assert {found[base].value for base in clinc.measures.BASES} == {0.0}
    for found in clinc.measures.detection(unsure, sure).values():
        assert (found["auroc"].value, found["auroc"].high) == (0.0, 0.0)


def test_intervals_are_of_a_bootstrap(clinc, monkeypatch, false_alarm: float) -> None:
    """Without any difference, half the intervals' width is what a normal approximation gives."""
    monkeypatch.setattr(clinc.measures, "RESAMPLES", 200)
    inside, outside = (answers(clinc, torch.randn(200, 4)) for _ in range(2))
    found = clinc.measures.detection(inside, outside)["entropy"]["auroc"]
    error = (401 / (12 * 200 * 200)) ** 0.5  # of Mann and Whitney's statistic
    assert abs(found.value - 0.5) < 6.2 * error  # 1e-9, both sides
    assert false_alarm == 1e-9
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.5)


def test_a_query_without_an_intent_is_an_error_where_it_is_answered(clinc) -> None:
    """Few are wrong among the answered; those outside, of which the router is unsure, are handed over."""
    labels = torch.arange(400) % 5
    sure, unsure = (answers(clinc, k * nn.functional.one_hot(labels)) for k in (9, 1))
    both = clinc.models.Answers.cat([sure, unsure[torch.arange(100)]])
    truth = torch.cat([labels, torch.full((100,), -1)])
    for found in clinc.measures.hand_over((both, truth), (both, truth)).values():
        assert found["handed over"] == pytest.approx(0.2)
        assert found["error"] == 0.0
        assert 0.0 < found["AURC"] <= 0.2 * 0.2  # nothing is wrong in the first four fifths
    hopeless = clinc.measures.hand_over((unsure, 1 + labels), (both, truth))
    assert all(list(found) == ["AURC"] for found in hopeless.values())


def test_calibration_finds_the_temperature(clinc) -> None:
    """A router that is twice as sure as it should be is mended by it, with and without dropout."""
    logits = 2 * torch.randn(4000, 4)
    labels = torch.multinomial((logits / 2).softmax(-1), 1).squeeze(1)
    said = answers(clinc, logits)
    found = clinc.measures.calibration(said, labels, said, labels)
    for name in ("deterministic", "Monte Carlo"):
        assert found[f"{name}, scaled"]["temperature"] == pytest.approx(2.0, abs=0.2)
        assert found[f"{name}, scaled"]["NLL"] < found[name]["NLL"]
        assert found[f"{name}, scaled"]["accuracy"] == found[name]["accuracy"]


def test_every_text_is_met_once_an_epoch(clinc, queries) -> None:
    """Sorting by length within groups leaves none out, and steps are numbered in a row."""
    steps = list(clinc.models._steps_by_length(queries, 16, 3, seed=0))
    assert [step for step, _ in steps] == list(range(15))
    for epoch in range(3):
        met = torch.cat([which for _, which in steps[5 * epoch : 5 * epoch + 5]])
        assert met.sort().values.tolist() == list(range(80))


def test_fine_tuning_learns_and_leaves_the_layers_below(clinc, queries, encoder) -> None:
    """The last two layers and the head are trained, under masks; nothing else is changed."""
    router = clinc.models.Router(encoder, 2)
    before = {name: x.clone() for name, x in router.state_dict().items()}
    clinc.models.fine_tune(router, tokenizer, queries, epochs=20, peak=1e-2)
    changed = {name for name, x in router.state_dict().items() if not torch.equal(x, before[name])}
    assert {".".join(name.split(".")[:4]) for name in changed if "encoder" in name} == {
        "encoder.encoder.layer.4",
        "encoder.encoder.layer.5",
    }
    said = clinc.models.ask(router, clinc.models.padded(tokenizer, queries), 4, clinc.models.SITES)
    assert float((said.logits.argmax(-1) == queries.labels).double().mean()) > 0.95
    assert said.mutual_information.max() > 0
    assert not router.training


def test_answers_come_in_the_order_of_the_queries(clinc, queries, encoder) -> None:
    """Batches by length are put back; a query is answered as it is alone at that length."""
    router = clinc.models.Router(encoder, 2).eval()
    said = clinc.models.ask(router, clinc.models.padded(tokenizer, queries), 4, clinc.models.SITES)
    which = torch.tensor([6])  # of the longest
    alone = [(which, clinc.models.tokens(tokenizer, queries, which))]
    one = clinc.models.ask(router, alone, 4, clinc.models.SITES)
    torch.testing.assert_close(said.mean[which], one.mean, rtol=1e-5, atol=1e-6)


def test_one_command_does_all_of_it(clinc, file, tmp_path, capsys, monkeypatch, encoder) -> None:
    """Both routers, all tables; the second time nothing is trained."""
    monkeypatch.setattr(clinc.main, "encoder", lambda: (encoder, tokenizer))
    monkeypatch.setattr(clinc.measures, "RESAMPLES", 3)
    results = tmp_path / "results"
    arguments = ["--data", str(file), "--results", str(results), "--samples", "4"]
    arguments += ["--head-samples", "4", "--epochs", "1"]
    clinc.main.main(arguments)
    first = capsys.readouterr().out
    assert "# Head on frozen embeddings" in first
    assert "# Last two layers fine-tuned" in first
    monkeypatch.setattr(clinc.main, "fine_tune", None)
    clinc.main.main(arguments)
    assert capsys.readouterr().out == first
