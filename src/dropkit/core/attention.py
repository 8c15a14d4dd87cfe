"""Attention with dropout on its probabilities, tile by tile; autograd knows nothing of it.

On the CPU the C core does it whole where it can: see `attention_whole`. The rest is done here.

A tile is some queries of one head, or whole heads where they are small, with all their keys: its
scores are computed, normalized, dropped and multiplied with the values in one buffer that every
tile uses again. So memory grows with the length and not with its square. Forward keeps one number
a query, the log of the sum of its exponentials; backward computes the probabilities from it
again, and draws the bits of the mask again.

Source:
    Vaswani et al. 2017, "Attention is all you need". Dao et al. 2022, "FlashAttention: fast and
    memory-efficient exact attention with IO-awareness": tiles, and a backward that recomputes.
"""

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from dropkit.core import attention_whole
from dropkit.core.attention_steps import forward_step
from dropkit.core.attention_tiles import query_part, wide
from dropkit.core.attention_work import Inputs, Options, Work

#: Of query, key, value and attention mask; the last is None where it was not asked for.
Gradients = tuple[Tensor, Tensor, Tensor, Tensor | None]


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Inside this, products are computed in the type of their factors, whatever autocasting says."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def outputs(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for what `forward` returns: the output is laid out like `query` where it can be."""
    logsumexp = query.new_empty(query.shape[:-1], dtype=wide(query.dtype))
    if query.shape[-1] == value.shape[-1]:
        return torch.empty_like(query), logsumexp
    return query.new_empty((*query.shape[:-1], value.shape[-1])), logsumexp


def forward(inputs: Inputs, options: Options) -> tuple[Tensor, Tensor]:
    """``dropout(softmax(query @ key.T * scale + attn_mask)) @ value``.

    Returns:
        Output ``(B, H, Lq, Ev)`` in the dtype of `query`, and ``(B, H, Lq)``, the log of the sum of
        the exponentials of each query's scores: +inf where it sees no key at all, whose output
        is 0. Halves are computed in float32.
    """
    out, logsumexp = outputs(inputs.query, inputs.value)
    if out.numel() == 0 or inputs.key.shape[2] == 0:
        return out.zero_(), logsumexp.fill_(torch.inf)
    if attention_whole.serves(inputs):
        attention_whole.forward(inputs, options, (out, logsumexp))
        return out, logsumexp
    work = Work(inputs, options)
    to, lse = work.tiling.merged(out), work.tiling.merged(logsumexp)
    (buffer,) = work.tiling.buffers(1)
    with exact(out.device):
        for heads in work.tiling.heads():
            part = work.part(heads)
            to_part, lse_part = query_part(to, heads), query_part(lse, heads)
            for rows in work.tiling.rows(options.is_causal):
                scores = work.scores(part, rows, buffer)
                sums = lse_part[:, rows.first : rows.end]
                forward_step(scores, sums, part.mask(rows, options))
                values = part.value[:, : rows.n_keys]
                work.product(scores, values, to_part[:, rows.first : rows.end])
    return _back(to, out), logsumexp


def backward(
    inputs: Inputs,
    options: Options,
    results: tuple[Tensor, Tensor],
    grad: Tensor,
    *,
    wants_mask: bool = False,
) -> Gradients:
    """The gradients of the inputs of `forward`, in their shapes and dtypes.

    Args:
        inputs: As `forward` had them.
        options: Likewise.
        results: What `forward` returned.
        grad: ``(B, H, Lq, Ev)``, of the output; any strides.
        wants_mask: Whether the gradient of a floating `attn_mask` is wanted.
    """
    query, key, value, attn_mask, _ = inputs
    if (
        not wants_mask
        and attention_whole.serves(inputs)
        and attention_whole.keeps_threads_at_work(inputs)
    ):
        return *attention_whole.backward(inputs, options, results, grad), None
    totals = [x.new_zeros(x.shape, dtype=wide(x.dtype)) for x in (query, key, value)]
    of_mask = None
    if wants_mask and attn_mask is not None:
        of_mask = attn_mask.new_zeros(attn_mask.shape, dtype=wide(query.dtype))
    if results[0].numel() and key.shape[2]:
        work = Work(inputs, options)
        dq, dk, dv, out, logsumexp, g = (work.tiling.merged(x) for x in (*totals, *results, grad))
        to_mask = None if of_mask is None else work.tiling.merged(of_mask)
        with exact(grad.device):
            work.accumulate(dq, dk, dv, out, logsumexp, g, to_mask)
    q, k, v = (
        total if total.dtype == x.dtype and x.is_contiguous() else torch.empty_like(x).copy_(total)
        for total, x in zip(totals, (query, key, value), strict=True)
    )
    if of_mask is not None and attn_mask is not None:
        of_mask = of_mask.to(attn_mask.dtype)
    return q, k, v, of_mask


def _back(merged: Tensor, x: Tensor) -> Tensor:
    """`x`, which holds what was written to its merged form: that may have been a copy."""
    return x if merged.data_ptr() == x.data_ptr() else x.copy_(merged.view(x.shape))
