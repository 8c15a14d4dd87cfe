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
    return {
        **padded_inputs([each.input_ids for each in batch], pad_id),
        "labels": _padded([each.labels for each in batch], NO_LOSS),
    }


def padded_inputs(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask`` of rows of tokens."""
    if not rows:
        raise DataError("`batch` must hold at least one example; got none.")
    return {
        "input_ids": _padded(rows, pad_id),
        "attention_mask": _padded([[1] * len(row) for row in rows], 0),
    }


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """``(len(rows), longest)`` int64, with `filler` after what is shorter."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
