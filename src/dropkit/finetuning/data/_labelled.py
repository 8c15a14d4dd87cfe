"""Labelled texts as tokens, for a sequence classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dropkit.errors import OptionError
from dropkit.finetuning.data._collate import padded_inputs
from dropkit.finetuning.data._conversation import LabelledText
from dropkit.finetuning.data._refusals import Refused, taken


@dataclass(frozen=True)
class EncodedText:
    """One labelled text as tokens.

    Attributes:
        id: The text's.
        input_ids: Its tokens with those that the tokenizer puts around them, at most `max_length`.
        label: The index of its class.
        n_cut: Tokens of the text that are not in it.
    """

    id: str
    input_ids: list[int]
    label: int
    n_cut: int = 0


def encode_labelled(
    texts: Sequence[LabelledText], tokenizer: Any, *, labels: Sequence[str], max_length: int
) -> list[EncodedText]:
    """Texts as a classifier reads them.

    Args:
        texts: From `read_labelled`.
        tokenizer: Of transformers.
        labels: The names of the classes; a text's label is its place here.
        max_length: Tokens that are kept of each, from the beginning, with those around it; at
            least 2.

    Returns:
        One for each text, in order.

    Raises:
        OptionError: `max_length` is below 2.
        DataError: A text has another label.
    """
    if max_length < 2:
        raise OptionError(f"`max_length` must be at least 2; got {max_length!r}.")
    index = {label: k for k, label in enumerate(labels)}

    def take(text: LabelledText) -> EncodedText:
        if text.label not in index:
            raise Refused(f"has the label {text.label!r}, which the model does not have")
        n = len(tokenizer(text.text, verbose=False)["input_ids"])
        ids = list(tokenizer(text.text, truncation=True, max_length=max_length)["input_ids"])
        return EncodedText(text.id, ids, index[text.label], n - len(ids))

    return taken(texts, take, lambda text: (text.where, text.text), _opening)


def collate_labelled(batch: Sequence[EncodedText], pad_id: int) -> dict[str, Tensor]:
    """Pad at the end to the longest of the batch.

    Args:
        batch: ``B`` texts, the longest of ``T`` tokens.
        pad_id: From `check_tokenizer`.

    Returns:
        ``input_ids`` and ``attention_mask`` (1 where there is a token): ``(B, T)`` int64 each, and
        ``labels``: ``(B,)`` int64.

    Raises:
        DataError: The batch is empty.
    """
    return {
        **padded_inputs([each.input_ids for each in batch], pad_id),
        "labels": torch.tensor([each.label for each in batch]),
    }


def _opening(n: int, total: int) -> str:
    return f"{n:,} of {total:,} texts cannot be learned from; none was taken."
