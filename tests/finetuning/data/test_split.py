"""The split: by conversation, copies together, and what it reports."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropkit.errors import DataError, OptionError
from dropkit.finetuning.data import Conversation, LabelledText, Message, split, split_report


def pair(question: str, answer: str, name: str = "") -> Conversation:
    """A question and its answer."""
    where = name or f"{question}/{answer}"
    return Conversation(where, (Message("user", question), Message("assistant", answer)), where)


MANY = [pair(f"question {k}", f"answer {k}") for k in range(100)]


def test_share_is_held_out() -> None:
    """Each conversation is on one side, in the order it was read."""
    parts = split(MANY, 0.2)
    assert (80, 20) == (len(parts.train), len(parts.held_out))
    assert sorted([*parts.train, *parts.held_out], key=MANY.index) == MANY
    assert list(parts.train) == [each for each in MANY if each in parts.train]
    assert (80, 20, 0, 0, 0, 0, 0, 0) == tuple(parts.report.to_dict().values())


def test_order_of_the_file_does_not_matter() -> None:
    """The same text is on the same side, whatever stands around it."""
    shuffled = random.Random(1).sample(MANY, len(MANY))
    assert set(split(MANY).held_out) == set(split(shuffled).held_out)
    before, after = set(split(MANY).held_out), set(split(MANY[1:]).held_out)
    assert len(before & after) >= 18


def test_seed_draws_another_split() -> None:
    """And the same seed the same."""
    assert split(MANY, seed=1) == split(MANY, seed=1)
    assert set(split(MANY, seed=1).held_out) != set(split(MANY, seed=2).held_out)


def test_copies_stay_together_and_are_counted() -> None:
    """Exact ones, and those that differ in case, spaces and punctuation."""
    copies = [
        pair("Hello", "Hi!", "1"),
        pair("Hello", "Hi!", "2"),
        pair("hello ...", "HI", "3"),
        pair("ｈｅｌｌｏ", "hi", "4"),  # noqa: RUF001 - wide letters are the point
        pair("hello", "Go away", "5"),
    ]
    for seed in range(20):
        parts = split([*copies, *MANY], 0.3, seed)
        sides = {each in parts.held_out for each in copies[:4]}
        assert (1, 0) == (len(sides), parts.report.n_split_copies)
    report = parts.report
    assert (1, 2, 1, 1) == (
        report.n_exact_copies,
        report.n_near_copies,
        report.n_copied,
        report.n_questions_answered_twice,
    )


def test_large_set_of_copies_does_not_spoil_the_share() -> None:
    """It is learned from, as it is more than what is to be held out."""
    copies = [pair("Hello", "Hi!", f"{k}") for k in range(30)]
    for seed in range(20):
        assert 26 == len(split([*copies, *MANY], 0.2, seed).held_out)


def test_what_is_no_copy() -> None:
    """Other roles, other words, and smileys, which have neither letters nor digits."""
    texts = [pair("a", ":)"), pair("a", ":("), pair("a", "b"), pair("a b", "c"), pair("ab", "c")]
    report = split_report(texts, [])
    assert (0, 0, 1) == (
        report.n_exact_copies,
        report.n_near_copies,
        report.n_questions_answered_twice,
    )


def test_given_parts_are_compared() -> None:
    """Copies across parts that somebody else split are counted, and questions seen."""
    report = split_report(
        [pair("Who?", "I."), pair("Where?", "Here.")],
        [pair("who", "i"), pair("WHERE", "There."), pair("When?", "Now.")],
    )
    assert (2, 3, 1, 2, 1) == (
        report.n_train,
        report.n_held_out,
        report.n_split_copies,
        report.n_held_out_questions_seen,
        report.n_questions_answered_twice,
    )


def test_labels_are_split_one_by_one() -> None:
    """Each label gives its share."""
    texts = [LabelledText(f"{k}", f"text {k}", "ab"[k % 5 == 0], "") for k in range(100)]
    held_out = split(texts, 0.2).held_out
    assert (16, 4) == tuple(sum(each.label == label for each in held_out) for label in "ab")


@given(
    names=st.lists(st.sampled_from("abcde"), min_size=2, max_size=30),
    labels=st.lists(st.sampled_from("xyz"), min_size=30, max_size=30),
    share=st.floats(0.01, 0.99),
    seed=st.integers(),
)
def test_both_sides_hold_something(names, labels, share, seed) -> None:
    """Whatever is copied how often, each is on one side and no copy on the other."""
    talks = [pair(name, "x", f"{k}") for k, name in enumerate(names)]
    texts = [LabelledText(f"{k}", name, labels[k], "") for k, name in enumerate(names)]
    for items in (talks, texts):
        if len(set(names)) < 2:
            continue
        parts = split(items, share, seed)
        assert parts.train
        assert parts.held_out
        assert 0 == parts.report.n_split_copies
        assert len(items) == len(parts.train) + len(parts.held_out)


def test_copies_alone_are_refused() -> None:
    """Nothing could be measured."""
    message = (
        "a split needs at least 2 conversations that are no copies of each other; got 1 among 2."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        split([pair("a", "b", "1"), pair("A", "B", "2")])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 20, float("nan")])
def test_bad_shares_are_refused(share) -> None:
    """A share is above 0 and below 1."""
    message = f"`held_out` must be a share in (0, 1); got {share!r}."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        split(MANY, share)
