"""Attention with dropout on its probabilities, tile by tile; autograd knows nothing of it.

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
from typing import NamedTuple

import torch
from torch import Tensor

from dropkit.core.attention_steps import backward_step, forward_step
from dropkit.core.attention_tiles import Tile, Tiling, mask_part, queries, shaped, wide
from dropkit.core.place import TileMask


class Inputs(NamedTuple):
    """The tensors of one attention.

    Attributes:
        query: ``(B, H, Lq, E)`` float32, float64, bfloat16 or float16; any strides.
        key: ``(B, Hk, Lk, E)``, likewise; `H` is a multiple of `Hk`, and so many query heads in a
            row share a key head.
        value: ``(B, Hk, Lk, Ev)``, likewise.
        attn_mask: ``(B or 1, H or 1, Lq or 1, Lk or 1)``: bool, where False hides a key, or
            floating, which is added to the scores.
        heads: ``(B * H,)`` int64 on the CPU: the number of each head in the tensor that the mask
            is cut from; None for 0, 1, 2 and so on.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    heads: Tensor | None


class Options(NamedTuple):
    """The numbers of one attention.

    Attributes:
        key: Of the mask's address, as a signed or unsigned 64-bit number.
        stream: Likewise.
        threshold: Drop rate times 65536, in 1..65536.
        scale: Of the scores, before the attention mask.
        is_causal: Query ``i`` sees the keys ``0..i`` only.
    """

    key: int
    stream: int
    threshold: int
    scale: float
    is_causal: bool


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
    work = _Work(inputs, options)
    to, lse, buffer = work.tiling.merged(out), work.tiling.merged(logsumexp), work.tiling.buffer()
    with exact(out.device):
        for tile in work.tiling.tiles(options.is_causal):
            scores = work.scores(tile, buffer)
            sums = scores.new_empty(scores.shape[:2])
            forward_step(scores, sums, work.mask(tile))
            queries(lse, tile).copy_(sums)
            work.product(scores, work.tiling.keys(work.v, tile), queries(to, tile))
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
    totals = [x.new_zeros(x.shape, dtype=wide(x.dtype)) for x in (query, key, value)]
    of_mask = None
    if wants_mask and attn_mask is not None:
        of_mask = attn_mask.new_zeros(attn_mask.shape, dtype=wide(query.dtype))
    if results[0].numel() and key.shape[2]:
        work = _Work(inputs, options)
        merged = [work.tiling.merged(x) for x in (*totals, *results, grad)]
        with exact(grad.device):
            work.accumulate(*merged, None if of_mask is None else work.tiling.merged(of_mask))
    q, k, v = (
        total if total.dtype == x.dtype and x.is_contiguous() else torch.empty_like(x).copy_(total)
        for total, x in zip(totals, inputs, strict=False)
    )
    if of_mask is not None and attn_mask is not None:
        of_mask = of_mask.to(attn_mask.dtype)
    return q, k, v, of_mask


class _Work:
    """The inputs of one attention as its tiles need them."""

    def __init__(self, inputs: Inputs, options: Options) -> None:
        query, key, value, attn_mask, heads = inputs
        self.tiling = Tiling.of(query, key, attn_mask)
        self.options = options
        self.q = self.tiling.merged(query)
        self.k, self.v = (self.tiling.merged(x).to(self.tiling.dtype) for x in (key, value))
        self.attn_mask = None if attn_mask is None else self.tiling.merged(attn_mask)
        self.heads = torch.arange(query.shape[0] * query.shape[1]) if heads is None else heads

    def mask(self, tile: Tile) -> TileMask:
        """Where a tile's rows sit."""
        key, stream, threshold, _, is_causal = self.options
        first = tile.batch * self.tiling.n_heads
        heads = self.heads[first + tile.first_head : first + tile.end_head]
        n_queries, n_keys = self.tiling.n_queries, self.tiling.n_keys
        rows = (tile.first_query, n_queries, n_keys, is_causal)
        return TileMask(heads, *rows, key, stream, threshold)

    def scores(self, tile: Tile, buffer: Tensor) -> Tensor:
        """A tile's ``(n, R, C)`` scores in `buffer`; the future is not hidden yet."""
        scores, keys = shaped(buffer, tile), self.tiling.keys(self.k, tile)
        self.product(queries(self.q, tile), keys.transpose(1, 2), scores, self.options.scale)
        if self.attn_mask is not None:
            part = mask_part(self.attn_mask, tile)
            if part.dtype == torch.bool:
                scores.masked_fill_(part.logical_not(), -torch.inf)
            else:
                scores.add_(part)
        return scores

    def product(self, a: Tensor, b: Tensor, out: Tensor, scale: float = 1.0) -> None:
        """``out = a @ b * scale``, for matrices of a tile and those of its keys."""
        a = self.tiling.folded(a.to(b.dtype))
        if out.is_contiguous() and out.dtype == b.dtype:
            out = self.tiling.folded(out)
            torch.baddbmm(out, a, b, beta=0.0, alpha=scale, out=out)
        else:
            found = torch.bmm(a, b).view(out.shape)
            out.copy_(found if scale == 1.0 else found.mul_(scale))

    def add_product(self, total: Tensor, tile: Tile, a: Tensor, b: Tensor, scale: float) -> None:
        """``total += a.T @ b * scale``, for matrices of a tile and a total of its keys."""
        to = self.tiling.keys(total, tile)
        a, b = self.tiling.folded(a).transpose(1, 2), self.tiling.folded(b)
        if to.is_contiguous():
            to.baddbmm_(a, b, alpha=scale)
        else:  # one product of many is faster than many with their sums
            to.add_(torch.bmm(a, b), alpha=scale)

    def accumulate(
        self,
        dq: Tensor,
        dk: Tensor,
        dv: Tensor,
        out: Tensor,
        logsumexp: Tensor,
        grad: Tensor,
        of_mask: Tensor | None,
    ) -> None:
        """Add what each tile has to the gradients."""
        tiling, scale = self.tiling, self.options.scale
        buffers = tiling.buffer(), tiling.buffer()
        for tile in tiling.tiles(self.options.is_causal):
            q, g = (queries(x, tile).to(tiling.dtype) for x in (self.q, grad))
            scores, grads = self.scores(tile, buffers[0]), shaped(buffers[1], tile)
            self.product(g, tiling.keys(self.v, tile).transpose(1, 2), grads)
            mean = (g * queries(out, tile)).sum(-1)
            sums = queries(logsumexp, tile).contiguous()
            backward_step(scores, grads, sums, mean, self.mask(tile))
            self.product(grads, tiling.keys(self.k, tile), queries(dq, tile), scale)
            self.add_product(dk, tile, grads, q, scale)
            self.add_product(dv, tile, scores, g, 1.0)
            if of_mask is not None:
                part = mask_part(of_mask, tile)
                part.add_(grads.sum_to_size(part.shape))


def _back(merged: Tensor, x: Tensor) -> Tensor:
    """`x`, which holds what was written to its merged form: that may have been a copy."""
    return x if merged.data_ptr() == x.data_ptr() else x.copy_(merged.view(x.shape))
