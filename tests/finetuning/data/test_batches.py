"""From tokens to batches and to the numbers of a report."""

import json
import re

import pytest
import torch

from dropkit.errors import DataError, OptionError
from dropkit.finetuning.data import (
    PLAIN_TEMPLATE,
    Conversation,
    Encoded,
    EncodedText,
    LabelledText,
    Message,
    check_tokenizer,
    collate,
    collate_labelled,
    encode,
    encode_labelled,
    split,
    summarize,
)


def test_batch_is_padded_at_its_end() -> None:
    """The mask knows what is padding, even where a text holds the token that pads."""
    batch = [Encoded("a", [5, 0, 7], [-100, 0, 7]), Encoded("b", [8], [8])]
    done = collate(batch, pad_id=0)
    assert [[5, 0, 7], [8, 0, 0]] == done["input_ids"].tolist()
    assert [[1, 1, 1], [1, 0, 0]] == done["attention_mask"].tolist()
    assert [[-100, 0, 7], [8, -100, -100]] == done["labels"].tolist()
    assert {torch.int64} == {each.dtype for each in done.values()}


def test_batch_of_labelled_texts() -> None:
    """One label a text."""
    done = collate_labelled([EncodedText("a", [5, 6], 1), EncodedText("b", [7], 0)], pad_id=9)
    assert [[5, 6], [7, 9]] == done["input_ids"].tolist()
    assert [[1, 1], [1, 0]] == done["attention_mask"].tolist()
    assert [1, 0] == done["labels"].tolist()


@pytest.mark.parametrize("function", [collate, collate_labelled])
def test_empty_batches_are_refused(function) -> None:
    """There is nothing to pad to."""
    message = "`batch` must hold at least one example; got none."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        function([], 0)


def test_labelled_texts_are_encoded(new_tokenizer) -> None:
    """With the place of the label, and what was cut as a number."""
    tokenizer = new_tokenizer(None)
    texts = [LabelledText("a", "Hello there?", "yes", "t.csv:2")]
    [whole] = encode_labelled(texts, tokenizer, labels=["no", "yes"], max_length=100)
    assert ("Hello there?", 1, 0) == (tokenizer.decode(whole.input_ids), whole.label, whole.n_cut)
    [cut] = encode_labelled(texts, tokenizer, labels=["no", "yes"], max_length=2)
    assert (whole.input_ids[:2], len(whole.input_ids) - 2) == (cut.input_ids, cut.n_cut)


def test_unknown_labels_are_refused(new_tokenizer) -> None:
    """All of them, with their places."""
    texts = [LabelledText("a", "x", "yes", "t.csv:2"), LabelledText("b", "y", "no", "t.csv:3")]
    message = (
        "1 of 2 texts cannot be learned from; none was taken. t.csv:3 has the label 'no', which "
        "the model does not have: 'y'."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        encode_labelled(texts, new_tokenizer(None), labels=["yes"], max_length=9)
    message = "`max_length` must be at least 2; got 0."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        encode_labelled(texts, new_tokenizer(None), labels=["yes"], max_length=0)


def test_padding_token_is_found(new_tokenizer) -> None:
    """The tokenizer's own, or the one that ends a text."""
    tokenizer = new_tokenizer(None)
    assert tokenizer.eos_token_id == check_tokenizer(tokenizer, len(tokenizer))
    tokenizer = new_tokenizer(None, pad_token="<|endoftext|>")
    assert tokenizer.pad_token_id == check_tokenizer(tokenizer, len(tokenizer) + 64)
    tokenizer = new_tokenizer(None, pad_token="<|endoftext|>", eos_token=None)
    assert tokenizer.pad_token_id == check_tokenizer(tokenizer, 1000, must_end=False)


def test_tokenizer_of_another_model_is_refused(new_tokenizer) -> None:
    """By the first token that the model has no row for."""
    tokenizer = new_tokenizer(None)
    tokenizer.add_tokens(["new"])
    n = len(tokenizer)
    message = (
        "the tokenizer does not belong to the model: its token 'new' has the number "
        f"{n - 1}, and the model's embedding has {n - 1} rows. Take the tokenizer of the model's "
        "own folder."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        check_tokenizer(tokenizer, n - 1)


def test_tokenizer_without_an_end_is_refused(new_tokenizer) -> None:
    """It is called by the folder that it came from."""
    tokenizer = new_tokenizer(None, eos_token=None, name_or_path="folder")
    message = (
        "the tokenizer of `folder` has no eos token, so no answer would ever end. Name the token "
        "that ends a text in its tokenizer_config.json."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        check_tokenizer(tokenizer, 1000)
    message = (
        "the tokenizer of `folder` has neither a pad nor an eos token, so texts of different "
        "length make no batch. Name one in its tokenizer_config.json."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        check_tokenizer(tokenizer, 1000, must_end=False)


def test_summary_counts_what_is_learned(new_tokenizer) -> None:
    """Conversations, tokens, what was cut and what was left out; as JSON can write it."""
    tokenizer = new_tokenizer(PLAIN_TEMPLATE)
    talks = [
        Conversation(f"{k}", (Message("user", f"{k}?"), Message("assistant", "Paris")), f"{k}")
        for k in range(9)
    ]
    talks.append(
        Conversation("long", (Message("user", "Hello " * 30), Message("assistant", "x")), "long")
    )
    parts = split(talks, 0.5)
    train, held_out = (
        encode(part, tokenizer, max_length=8, if_all_cut="leave out")
        for part in (parts.train, parts.held_out)
    )
    summary = summarize(parts, train, held_out, tokenizer)
    assert (4 + 5, ("long",)) == (
        summary.train.n_conversations + summary.held_out.n_conversations,
        summary.train.left_out + summary.held_out.left_out,
    )
    for part, encoded in ((summary.train, train), (summary.held_out, held_out)):
        assert (len(encoded), len(encoded)) == (part.n_conversations, part.n_answers)
        assert part.n_tokens == sum(len(each.input_ids) for each in encoded)
        assert part.n_loss_tokens == sum(label != -100 for each in encoded for label in each.labels)
        assert part.longest == max(len(each.input_ids) for each in encoded)
        assert part.n_truncated == sum(each.n_cut > 0 for each in encoded)
        assert part.n_tokens_cut == sum(each.n_cut for each in encoded)
    assert PLAIN_TEMPLATE == summary.template
    assert json.loads(json.dumps(summary.to_dict()))["split"]["n_train"] == 5
