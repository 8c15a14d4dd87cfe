"""Dropout of rows of an embedding table."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.core import kernels, noise_route
from dropkit.core.address import Address
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.functional._dropout import apply_dropout


def embedding_dropout(
    input: Tensor,  # noqa: A002 - torch's own name
    weight: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    address: Address | None = None,
) -> Tensor:
    """Look up rows of a table of which each is zero with chance `p`, and scaled otherwise.

    A word type is dropped everywhere in the batch, or nowhere. Only the rows that are looked up
    are touched: element ``i`` of the mask belongs to row ``i`` of the table, and is drawn where it
    is asked for.

    Args:
        input: ``(*)`` int32 or int64, rows of the table.
        weight: ``(V, width)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1]; a share, not a percentage.
        training: False drops nothing.
        padding_idx: As ``torch.nn.functional.embedding`` has it.
        scale_grad_by_freq: Likewise.
        sparse: Likewise.
        address: Names the mask; see `dropkit.functional.dropout`.

    Returns:
        ``(*, width)`` like `weight`. Dropped rows are +0 whatever they were, and so are their
        gradients. No mask is stored: backward draws it again.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `weight` is not of a floating type that has a kernel.

    Source:
        Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287; Merity et al. 2017, arXiv:1708.02182
        (AWD-LSTM).

    >>> embedding_dropout(torch.tensor([2, 0, 2]), torch.ones(3, 2), address=Address.from_seed(3))
    tensor([[0., 0.],
            [2., 2.],
            [0., 0.]])
    """
    rows = F.embedding(
        input,
        weight,
        padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
        sparse=sparse,
    )
    return drop_word_types(rows, input, threshold_from_rate(p), training, address=address)


def drop_word_types(
    embedded: Tensor,
    ids: Tensor,
    threshold: int,
    training: bool,
    *,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """Drop what the ids ``(*)`` were embedded to, ``(*, width)``: equal ids together."""
    if threshold == 0 or not training or not embedded.numel():
        return embedded
    if threshold == STEPS:
        return apply_dropout(embedded, threshold, True, False)
    kernels.check_dtype(embedded)
    flat = embedded.reshape(-1, embedded.shape[-1])
    rows = ids.reshape(-1).to("cpu", torch.int64)
    out = noise_route.dropout_of_rows(flat, rows, threshold, address=address, site=site)
    return out.reshape(embedded.shape)
