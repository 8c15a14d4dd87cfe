"""The ways of attention into torch: which of them a call takes, as in `route`.

*Plain* tensors take an ``autograd.Function`` over the tiles, *compilers and dispatch modes* the
operators. What the tiles do not serve, second derivatives, function transforms, forward-mode
differentiation and sharded tensors, is put together from torch's own operations and dropout on
the whole matrix of probabilities: the same bits, with memory for that matrix.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core import attention, attention_ops, route
from dropkit.core.address import Address
from dropkit.core.attention_work import Inputs, Options
from dropkit.core.place import Place

#: Query, key, value and attention mask, shaped as `Inputs` are.
Tensors = tuple[Tensor, Tensor, Tensor, Tensor | None]


def attend(
    tensors: Tensors,
    shape: tuple[int, ...],
    threshold: int,
    how: tuple[float, bool],
    *,
    address: Address | None,
    site: nn.Module | None,
) -> Tensor:
    """Attention with dropout at a rate of ``threshold / 65536``, under `address` or a drawn mask.

    Args:
        tensors: Query, key, value and attention mask, shaped as `Inputs` are.
        shape: ``(*, Lq, Lk)``, of the probabilities as the caller sees them: their first dimension
            is the batch that ``masks_at(rows=...)`` speaks of.
        threshold: In 1..65536.
        how: Scale of the scores, and whether query ``i`` sees the keys ``0..i`` only.
        address: Names the mask; None draws one.
        site: The module that asks, for named masks.
    """
    if torch.compiler.is_compiling():
        return _operated(tensors, shape, route.compiled_mask(shape, threshold, address, site), how)
    if all(x is None or route.is_plain(x) for x in tensors):
        key, stream, place = route.eager_mask(shape, address, site)
        return _plain(tensors, shape, Options(key, stream, threshold, *how), place)
    if not any(x is not None and route.is_transformed(x) for x in tensors):
        return _operated(tensors, shape, route.general_mask(shape, threshold, address, site), how)

    def drop(p: Tensor) -> Tensor:
        p, whole = p.reshape(shape), p.shape
        return route.dropout(p, threshold, address=address, site=site).reshape(whole)

    return composed(tensors, *how, drop)


def _operated(
    tensors: Tensors,
    shape: tuple[int, ...],
    mask_and_rows: tuple[Tensor, Tensor | None],
    how: tuple[float, bool],
) -> Tensor:
    mask, rows = mask_and_rows
    out: Tensor
    if rows is not None and len(shape) == 2:  # the rows are queries: rare, and small
        op = torch.ops.dropkit.dropout
        return composed(
            tensors, *how, lambda p: op(p.reshape(shape), mask, True, rows).reshape(p.shape)
        )
    out = torch.ops.dropkit.attention(*tensors, mask, rows, *how)[0]
    return out


def _plain(
    tensors: Tensors, shape: tuple[int, ...], options: Options, place: Place | None
) -> Tensor:
    if place is not None and (len(shape) == 2 or not _holds_heads(place, shape)):
        mask = (options.key, options.stream, options.threshold, True, place)
        return composed(
            tensors, *options[3:], lambda p: route.masked(p.view(shape), mask).view_as(p)
        )
    heads = None
    if place is not None:
        heads = attention_ops.heads_of_rows(place.row_tensor(), tensors[0])
    return _attended(Inputs(*tensors, heads), options)


def _holds_heads(place: Place, shape: tuple[int, ...]) -> bool:
    """Whether each row is some whole heads, one after another."""
    return place.row_stride * place.rows == math.prod(shape)


def composed(
    tensors: Tensors, scale: float, is_causal: bool, drop: Callable[[Tensor], Tensor]
) -> Tensor:
    """Attention by torch's own operations, where `drop` drops ``(B, H, Lq, Lk)`` probabilities."""
    with attention.exact(tensors[0].device):
        return _composed(tensors, scale, is_causal, drop)


def _composed(
    tensors: Tensors, scale: float, is_causal: bool, drop: Callable[[Tensor], Tensor]
) -> Tensor:
    query, key, value, attn_mask = tensors
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    group = query.shape[1] // key.shape[1] if key.shape[1] else 1
    if group > 1:
        key, value = (x.repeat_interleave(group, 1) for x in (key, value))
    scores = query.to(wide) @ key.to(wide).transpose(-1, -2) * scale
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(attn_mask.logical_not(), -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    is_dead = (scores == -torch.inf).all(-1, keepdim=True)
    p = torch.softmax(scores.masked_fill(is_dead, 0.0), -1).masked_fill(is_dead, 0.0)
    return (drop(p) @ value.to(wide)).to(query.dtype)


def _attended(inputs: Inputs, options: Options) -> Tensor:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs[:4]):
        out: Tensor = _Attention.apply(options, *inputs)
        return out
    return attention.forward(inputs, options)[0]


class _Attention(torch.autograd.Function):
    """Keeps its inputs, its output and a number a query."""

    @staticmethod
    def forward(ctx: Any, options: Options, *tensors: Any) -> Tensor:
        inputs = Inputs(*tensors)
        out, logsumexp = attention.forward(inputs, options)
        ctx.options = options
        ctx.save_for_backward(*inputs, out, logsumexp)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        *tensors, out, logsumexp = ctx.saved_tensors
        inputs, options = Inputs(*tensors), ctx.options
        if torch.is_grad_enabled() or not route.is_plain(grad) or route.is_transformed(grad):
            # to be differentiated again, or many gradients at once
            gradients: Sequence[Tensor | None] = _composed_gradients(
                inputs, options, grad, ctx.needs_input_grad[1:5]
            )
        else:
            gradients = attention.backward(
                inputs, options, (out, logsumexp), grad, wants_mask=ctx.needs_input_grad[4]
            )
        return None, *gradients, None


def _composed_gradients(
    inputs: Inputs, options: Options, grad: Tensor, wanted: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients as a graph that can be differentiated and batched again."""
    query, key = inputs.query, inputs.key
    lengths = (query.shape[2], key.shape[2])
    place = Place.whole(query.shape[0] * query.shape[1] * lengths[0] * lengths[1])
    if inputs.heads is not None:
        place = Place(len(inputs.heads), lengths[0] * lengths[1], row_ids=inputs.heads)
    mask = (options.key, options.stream, options.threshold, True, place)

    def drop(p: Tensor) -> Tensor:
        return route.masked(p.flatten(0, 1), mask).view_as(p)

    is_graph_wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        tensors = [x if x is None or is_graph_wanted else x.detach() for x in inputs[:4]]
        for x, is_wanted in zip(tensors, wanted, strict=True):
            if x is not None and is_wanted and not x.requires_grad:
                x.requires_grad_()
        out = composed(tuple(tensors), options.scale, options.is_causal, drop)  # type: ignore[arg-type]
    sources = [x for x, is_wanted in zip(tensors, wanted, strict=True) if is_wanted]
    found = iter(torch.autograd.grad(out, sources, grad, create_graph=is_graph_wanted))  # type: ignore[arg-type]
    return [next(found) if is_wanted else None for is_wanted in wanted]
