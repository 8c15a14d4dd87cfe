"""Attention on the CPU, whole, in one call of the C core; halves as float32.

Each thread does all there is to do for some queries of a head, or in backward for a head, in blocks
that stay in its cache; see ``csrc/attention_heads.c``. Products are torch's own, one thread each.
What this does not serve goes tile by tile, where several threads share a product: see `attention`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dropkit.core.attention_work import Inputs, Options
from dropkit.core.binding import LOADED, Attention, Core, MaskKind, Matrices

#: Queries and keys of a block: its scores and their gradients are to stay in the cache of a core.
MOST_QUERIES, MOST_KEYS = 128, 512
#: A product's sizes are 32-bit numbers.
_LIMIT = 1 << 31


def serves(inputs: Inputs) -> bool:
    """Whether `forward` and `backward` take these inputs; none of their dimensions may be 0."""
    query, key, value, attn_mask, _ = inputs
    core = LOADED.core
    return (
        core is not None
        and core.torchs_sgemm is not None
        and core.torchs_team is not None
        and query.is_cpu
        and query.dtype != torch.float64
        and 0 not in (*query.shape, *key.shape, *value.shape)
        and (attn_mask is None or attn_mask.dtype != torch.float64)
    )


def keeps_threads_at_work(inputs: Inputs) -> bool:
    """Whether there is a key head for each thread in `backward`."""
    return inputs.key.shape[0] * inputs.key.shape[1] >= torch.get_num_threads()


def forward(inputs: Inputs, options: Options, results: tuple[Tensor, Tensor]) -> None:
    """Write what ``attention.forward`` returns to `results`."""
    out, logsumexp = results
    is_fit = out.dtype == torch.float32 and _has_rows(out)
    rows = out if is_fit else out.new_empty(out.shape, dtype=torch.float32)
    call = _Call.of(inputs, options, buffers=1)
    call.struct.out = _matrices(rows)
    call.struct.logsumexp = logsumexp.data_ptr()
    call.core.attend_forward(call.struct)
    if rows is not out:
        out.copy_(rows)


def backward(
    inputs: Inputs, options: Options, results: tuple[Tensor, Tensor], grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, in their dtype, laid out like these if they can be."""
    out, logsumexp = results
    call = _Call.of(inputs, options, buffers=2)
    out, grad, logsumexp = _with_rows(out), _with_rows(grad), logsumexp.contiguous()
    query, key, value = (_empty_with_rows(x) for x in inputs[:3])  # float32
    struct = call.struct
    struct.out, struct.grad = _matrices(out), _matrices(grad)
    struct.of_query, struct.of_key, struct.of_value = map(_matrices, (query, key, value))
    struct.logsumexp = logsumexp.data_ptr()
    call.core.attend_backward(struct)
    dtype = inputs.query.dtype
    return query.to(dtype), key.to(dtype), value.to(dtype)


class _Call(NamedTuple):
    """What both calls of the core are told, and the tensors that it points to."""

    core: Core
    struct: Attention
    tensors: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, inputs: Inputs, options: Options, *, buffers: int) -> "_Call":
        core = LOADED.core
        assert core is not None  # `serves` was asked
        query, key, value = (_with_rows(x) for x in inputs[:3])
        batches, n_heads, n_queries, width = query.shape
        n_key_heads, n_keys = key.shape[1:3]
        queries_a_block = _evened(n_queries, MOST_QUERIES)
        keys_a_block = _evened(n_keys, MOST_KEYS)
        threads = torch.get_num_threads()
        room = query.new_empty(threads * buffers * queries_a_block * keys_a_block)
        heads = None if inputs.heads is None else inputs.heads.contiguous()
        mask, kind, steps = _mask(inputs.attn_mask, (batches, n_heads, n_queries, n_keys))
        struct = Attention(
            query=_matrices(query),
            key=_matrices(key),
            value=_matrices(value),
            mask=None if mask is None else mask.data_ptr(),
            mask_steps=steps,
            heads=None if heads is None else heads.data_ptr(),
            room=room.data_ptr(),
            sgemm=core.torchs_sgemm,
            batches=batches,
            n_heads=n_heads,
            n_key_heads=n_key_heads,
            n_queries=n_queries,
            n_keys=n_keys,
            width=width,
            value_width=value.shape[3],
            queries_a_block=queries_a_block,
            keys_a_block=keys_a_block,
            mask_key=options.key,
            mask_stream=options.stream,
            threshold=options.threshold,
            mask_kind=kind,
            is_causal=options.is_causal,
            threads=threads,
            scale=options.scale,
        )
        return cls(core, struct, (query, key, value, room, heads, mask))


def _evened(n: int, most: int) -> int:
    """The length of equal parts of `n` with at most `most` each, in whole sixteens if it is cut."""
    if n <= most:
        return n
    parts = -(-n // most)
    return min(-(-n // parts // 16) * 16, most)


def _step(x: Tensor) -> int:
    """Elements from one row to the next; a single row has no next."""
    return x.stride(-2) if x.shape[-2] > 1 else x.shape[-1]


def _has_rows(x: Tensor) -> bool:
    width = x.shape[-1]
    return (x.stride(-1) == 1 or width == 1) and width <= _step(x) < _LIMIT


def _with_rows(x: Tensor) -> Tensor:
    """`x`, or a copy of it where it is not float32 with contiguous rows."""
    x = x.resolve_neg().float()
    return x if _has_rows(x) else x.contiguous()


def _empty_with_rows(x: Tensor) -> Tensor:
    empty = torch.empty_like(x, dtype=torch.float32)
    return empty if _has_rows(empty) else empty.new_empty(x.shape)


def _matrices(x: Tensor) -> Matrices:
    example, head, *_ = x.stride()
    return Matrices(x.data_ptr(), example, head, _step(x))


def _mask(
    attn_mask: Tensor | None, shape: tuple[int, ...]
) -> tuple[Tensor | None, MaskKind, tuple[int, ...]]:
    if attn_mask is None:
        return None, MaskKind.NONE, (0, 0, 0, 0)
    kind = MaskKind.SHOWN if attn_mask.dtype == torch.bool else MaskKind.ADDED
    mask = attn_mask if kind == MaskKind.SHOWN else attn_mask.resolve_neg().float()
    mask = mask.expand(shape)
    return mask, kind, mask.stride()
