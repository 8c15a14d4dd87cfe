"""Conversations of different length as one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.errors import DataError
from dropkit.finetuning.data._encode import NO_LOSS, Encoded


def collate(batch: Sequence[Encoded], pad_id: int) -> dict[str, Tensor]:
    """Pad at the end to the longest of the batch.

    Args:
        batch: ``B`` conversations, the longest of ``T`` tokens.
        pad_id: From `check_tokenizer`.

    Returns:
        ``input_ids``, ``attention_mask`` (1 where there is a token, whichever it is) and ``labels``
        (-100 without loss): ``(B, T)`` int64 each.

    Raises:
        DataError: The batch is empty.
    """
    if not batch:
        raise DataError("`batch` must hold at least one conversation; got none.")
    length = max(len(each.input_ids) for each in batch)
    input_ids = torch.full((len(batch), length), pad_id)
    labels = torch.full((len(batch), length), NO_LOSS)
    attention_mask = torch.zeros((len(batch), length), dtype=torch.int64)
    for row, each in enumerate(batch):
        n = len(each.input_ids)
        input_ids[row, :n] = torch.tensor(each.input_ids)
        labels[row, :n] = torch.tensor(each.labels)
        attention_mask[row, :n] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
