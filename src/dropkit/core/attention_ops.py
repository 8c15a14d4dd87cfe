"""Attention as operators that torch knows: for compilers, fake tensors and other dispatch modes.

Pure functions of their tensors, one of which is the mask that ``dropkit::draw`` drew; see `ops`.
"""

from typing import Any

import torch
from torch import Tensor

from dropkit.core import attention, ops
from dropkit.core.attention_work import Inputs, Options

_library = torch.library.Library("dropkit", "FRAGMENT")
_INPUTS = "Tensor query, Tensor key, Tensor value, Tensor? attn_mask"
_MASK = "Tensor mask, Tensor? rows, float scale, bool is_causal"
_library.define(
    f"attention({_INPUTS}, {_MASK}) -> (Tensor, Tensor)", tags=(torch.Tag.pt2_compliant_tag,)
)
# The last gradient is empty where it is not wanted: operators return tensors and no None.
_library.define(
    f"attention_backward({_INPUTS}, {_MASK}, Tensor out, Tensor logsumexp, Tensor grad, "
    "bool wants_mask) -> (Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)

_Four = tuple[Tensor, Tensor, Tensor, Tensor]


def heads_of_rows(rows: Tensor, query: Tensor) -> Tensor:
    """The number of each head of ``(B, H, Lq, E)``: ``(B * H,)``, from an equal share a row."""
    return ops.rows_of_examples(rows, query.shape[0] * query.shape[1] // len(rows))


def _call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    mask: Tensor,
    rows: Tensor | None,
    scale: float,
    is_causal: bool,
) -> tuple[Inputs, Options]:
    heads = heads_of_rows(rows, query) if rows is not None and len(rows) else None
    first, stream, threshold = mask.tolist()
    inputs = Inputs(query, key, value, attn_mask, heads)
    return inputs, Options(first, stream, threshold, scale, is_causal)


def _forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    return attention.forward(*_call(*arguments))


def _fake(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    del key
    return attention.outputs(query, value)


def _gradients(*arguments: Any) -> _Four:
    *call, out, logsumexp, grad, wants_mask = arguments
    inputs, options = _call(*call)
    q, k, v, m = attention.backward(inputs, options, (out, logsumexp), grad, wants_mask=wants_mask)
    return q, k, v, grad.new_empty(0) if m is None else m


def _fake_gradients(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, *rest: Any
) -> _Four:
    q, k, v = (torch.empty_like(x) for x in (query, key, value))
    if attn_mask is None or not rest[-1]:
        return q, k, v, query.new_empty(0)
    return q, k, v, attn_mask.new_empty(attn_mask.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale, ctx.is_causal = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, out, logsumexp = ctx.saved_tensors
    wants_mask = ctx.needs_input_grad[3]
    op = torch.ops.dropkit.attention_backward
    q, k, v, m = op(*tensors, ctx.scale, ctx.is_causal, out, logsumexp, grad, wants_mask)
    return q, k, v, m if wants_mask else None, None, None, None, None


for _name, _kernel in {"attention": _forward, "attention_backward": _gradients}.items():
    _library.impl(_name, _kernel, "CompositeExplicitAutograd")
torch.library.register_fake("dropkit::attention", _fake, lib=_library)
torch.library.register_fake("dropkit::attention_backward", _fake_gradients, lib=_library)
torch.library.register_autograd("dropkit::attention", _backward, setup_context=_save, lib=_library)
