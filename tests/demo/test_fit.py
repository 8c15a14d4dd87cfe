"""One trial of the demo."""

from collections import Counter

import pytest
import torch

import dropkit
from dropkit.demo.fit import ARMS, RouterFit, split
from dropkit.demo.questions import Questions
from dropkit.demo.router import LONGEST, Router, Vocabulary
from dropkit.studies.trial import Trial


@pytest.fixture
def questions() -> Questions:
    """Two topics that one word tells apart."""
    texts = [f"{word} number {k}" for word in ("red", "blue") for k in range(40)]
    return Questions("colours", tuple(texts), tuple(text.split()[0] for text in texts))


def test_trial_is_replayed_bit_for_bit(questions) -> None:
    """The same trial gives the same metrics and curve, whatever the generator's state."""
    fit = RouterFit(questions, steps=8)
    first, again = Trial(ARMS[2], 0), Trial(ARMS[2], 0)
    metrics = fit(first)
    torch.manual_seed(99)
    assert metrics == fit(again)
    assert first.points == again.points


def test_replicates_and_arms_differ(questions) -> None:
    """Another replicate, rate or weight decay is another training."""
    fit = RouterFit(questions, steps=8)
    trials = [Trial(ARMS[0], 0), Trial(ARMS[0], 1), Trial(ARMS[2], 0), Trial(ARMS[4], 0)]
    assert len({fit(trial)["validation_loss"] for trial in trials}) == 4


def test_model_learns(questions) -> None:
    """Forty steps tell two colours apart on questions never seen."""
    metrics = RouterFit(questions, steps=40)(Trial(ARMS[1], 0))
    assert metrics["accuracy"] == 1.0
    assert metrics["gap"] == metrics["validation_loss"] - metrics["train_loss"]


def test_curve_has_eight_points_and_the_end(questions) -> None:
    """The last point of the learning curve is the final measurement."""
    trial = Trial(ARMS[0], 0)
    metrics = RouterFit(questions, steps=30)(trial)
    assert (8, 30) == (len(trial.points), trial.points[-1].step)
    assert metrics["validation_loss"] == trial.points[-1].metrics["validation_loss"]


def test_split_is_drawn_topic_by_topic() -> None:
    """Each topic is split 70 to 30, nobody stands on both sides, and the seed decides who."""
    labels = ("a",) * 100 + ("b",) * 10 + ("c",) * 2
    train, validation = (part.tolist() for part in split(labels, 1))
    assert sorted(train + validation) == list(range(112))
    assert {"a": 30, "b": 3, "c": 1} == Counter(labels[i] for i in validation)
    assert validation == split(labels, 1)[1].tolist()
    assert validation != split(labels, 2)[1].tolist()


def test_router_has_dropout_where_it_says() -> None:
    """Six sites, all set by one rate."""
    model = Router(10, 3)
    dropkit.set_rates(model, 0.3)
    assert [(site.name, site.rate) for site in dropkit.find_sites(model)] == [
        ("embedding_drop", 0.3),
        ("blocks.0.attention_drop", 0.3),
        ("blocks.0.feed.3", 0.3),
        ("blocks.1.attention_drop", 0.3),
        ("blocks.1.feed.3", 0.3),
        ("head_drop", 0.3),
    ]


def test_padding_does_not_change_an_answer() -> None:
    """A text's logits do not depend on the longer texts beside it."""
    torch.manual_seed(0)
    model = Router(10, 3).eval()
    alone = model(torch.tensor([[2, 3, 4]]))
    beside = model(torch.tensor([[2, 3, 4, 0, 0, 0], [5, 6, 7, 8, 9, 2]]))[:1]
    assert torch.allclose(alone, beside, atol=1e-6)


def test_vocabulary_knows_only_its_texts() -> None:
    """Unknown words share a number, long texts are cut, an empty text is one unknown word."""
    vocabulary = Vocabulary(["what is ai ?", "what now"])
    assert len(vocabulary) == 7
    assert vocabulary.encode(["what is new", "?", "..."]).tolist() == [
        [2, 3, 1],
        [5, 0, 0],
        [1, 1, 1],
    ]
    assert vocabulary.encode([""]).tolist() == [[1]]
    assert vocabulary.encode(["ai " * 100]).shape == (1, LONGEST)
