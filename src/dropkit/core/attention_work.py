"""The tensors of one attention, and what is done with those of a tile."""

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from dropkit.core.attention_steps import backward_step
from dropkit.core.attention_tiles import Heads, Rows, Tiling, mask_part, query_part, tile_of
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


class Part(NamedTuple):
    """What the tiles of some heads share; as `Work` has it, without the batch."""

    heads: Heads
    query: Tensor
    key: Tensor
    value: Tensor
    numbers: Tensor
    lengths: tuple[int, int]

    def mask(self, rows: Rows, options: Options) -> TileMask:
        """Where the rows of a tile sit."""
        return TileMask(
            self.numbers,
            rows.first,
            *self.lengths,
            options.is_causal,
            options.key,
            options.stream,
            options.threshold,
        )


class Work:
    """The inputs of one attention as its tiles need them."""

    def __init__(self, inputs: Inputs, options: Options) -> None:
        query, key, value, attn_mask, heads = inputs
        self.tiling = Tiling.of(query, key, attn_mask)
        self.options = options
        self.query = self.tiling.merged(query)
        self.key, self.value = (self.tiling.merged(x).to(self.tiling.dtype) for x in (key, value))
        number = functools.partial(torch.tensor, dtype=self.tiling.dtype, device=query.device)
        self.shown, self.hidden = number(0.0), number(-torch.inf)
        self.attn_mask = None if attn_mask is None else self.tiling.merged(attn_mask)
        n_heads = query.shape[0] * query.shape[1]
        self.numbers = torch.arange(n_heads, device="cpu") if heads is None else heads

    def part(self, heads: Heads) -> Part:
        """What the tiles of some heads share."""
        tiling = self.tiling
        first = heads.batch * tiling.n_heads
        return Part(
            heads,
            query_part(self.query, heads),
            tiling.key_part(self.key, heads),
            tiling.key_part(self.value, heads),
            self.numbers[first + heads.first : first + heads.end],
            (tiling.n_queries, tiling.n_keys),
        )

    def scores(self, part: Part, rows: Rows, buffer: Tensor) -> Tensor:
        """A tile's ``(n, R, C)`` scores in `buffer`; the future is not hidden yet."""
        scores = tile_of(buffer, part.heads, rows)
        query, keys = part.query[:, rows.first : rows.end], part.key[:, : rows.n_keys]
        self.product(query, keys.transpose(1, 2), scores, self.options.scale)
        if self.attn_mask is not None:
            of_tile = mask_part(self.attn_mask, part.heads, rows)
            if of_tile.dtype == torch.bool:  # as torch's own: -inf is added to what is hidden
                of_tile = torch.where(of_tile, self.shown, self.hidden)
            scores.add_(of_tile)
        return scores

    def product(self, a: Tensor, b: Tensor, out: Tensor, scale: float = 1.0) -> None:
        """``out = a @ b * scale``, for matrices of a tile and those of its keys."""
        a, b = a.to(b.dtype), b.expand(len(a), *b.shape[1:])
        if out.is_contiguous() and out.dtype == b.dtype:
            torch.baddbmm(out, a, b, beta=0.0, alpha=scale, out=out)
        else:
            found = torch.bmm(a, b)
            out.copy_(found if scale == 1.0 else found.mul_(scale))

    def add_product(self, to: Tensor, a: Tensor, b: Tensor, scale: float = 1.0) -> None:
        """``to += a.T @ b * scale``, for matrices of a tile and a total of its keys."""
        a, b = self.tiling.folded(a).transpose(1, 2), self.tiling.folded(b)
        if to.is_contiguous():
            to.baddbmm_(a, b, alpha=scale)
        else:  # one product of many is faster than many with their sums
            to.add_(torch.bmm(a, b), alpha=scale)

    def accumulate(
        self,
        of_query: Tensor,
        of_key: Tensor,
        of_value: Tensor,
        out: Tensor,
        logsumexp: Tensor,
        grad: Tensor,
        of_mask: Tensor | None,
    ) -> None:
        """Add what each tile has to the gradients."""
        tiling, scale = self.tiling, self.options.scale
        buffers = tiling.buffers(2)
        for heads in tiling.heads():
            part = self.part(heads)
            dq, o, lse, g = (query_part(x, heads) for x in (of_query, out, logsumexp, grad))
            dk, dv = (tiling.key_part(x, heads) for x in (of_key, of_value))
            for rows in tiling.rows(self.options.is_causal):
                of_rows, of_keys = slice(rows.first, rows.end), slice(rows.n_keys)
                q_tile, g_tile = (x[:, of_rows].to(tiling.dtype) for x in (part.query, g))
                scores = self.scores(part, rows, buffers[0])
                grads = tile_of(buffers[1], heads, rows)
                self.product(g_tile, part.value[:, of_keys].transpose(1, 2), grads)
                mean = (g_tile * o[:, of_rows]).sum(-1)
                mask = part.mask(rows, self.options)
                backward_step(scores, grads, lse[:, of_rows], mean, mask)
                self.product(grads, part.key[:, of_keys], dq[:, of_rows], scale)
                self.add_product(dk[:, of_keys], grads, q_tile, scale)
                self.add_product(dv[:, of_keys], scores, g_tile)
                if of_mask is not None:
                    to = mask_part(of_mask, heads, rows)
                    to.add_(grads.sum_to_size(to.shape))
