"""Attention as a function."""

import functools
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as torchs_own

from dropkit.core import attention_route, samples
from dropkit.core.address import Address
from dropkit.core.binding import CODES
from dropkit.core.rate import STEPS, threshold_from_rate
from dropkit.errors import OptionError

_ANY = Address(0, 0)  # where everything is dropped, no bit is read


def scaled_dot_product_attention(  # noqa: PLR0913 - torch's signature
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    address: Address | None = None,
) -> Tensor:
    """``dropout(softmax(query @ key.T * scale + attn_mask)) @ value``, with an address for the mask.

    Memory grows with the lengths and not with their product: scores are computed some queries at
    a time, forward keeps its inputs, its output and one number a query, and backward draws the
    mask again. Second derivatives, function transforms, forward-mode differentiation, sharded
    tensors, and 2-D tensors under ``masks_at(rows=...)`` give the same result, but hold the whole
    matrix of probabilities.

    Args:
        query: ``(*, H, Lq, E)`` float32, float64, bfloat16 or float16; any strides. ``(*, H)`` may
            be missing, in part or all.
        key: ``(*, H, Lk, E)``, of the same dtype and device.
        value: ``(*, H, Lk, Ev)``, likewise. Dimensions before the last two are broadcast.
        attn_mask: Broadcastable to ``(*, H, Lq, Lk)``. Bool, where False hides a key from a
            query; or float32 or of the dtype of `query`, which is added to the scores, and may
            require a gradient.
        dropout_p: Drop rate of the probabilities in [0, 1]; a share, not a percentage. Rounded to
            a multiple of 2**-16. At 0 this is torch's own function.
        is_causal: Query ``i`` sees the keys ``0..i`` only; not together with `attn_mask`.
        scale: Of the scores; None for ``1 / sqrt(E)``.
        enable_gqa: `key` and `value` may have fewer heads: `H` over theirs is how many query heads
            in a row share one.
        address: Names the mask; the index of an element is that in the whole row-major
            ``(*, H, Lq, Lk)`` matrix, as if `dropkit.functional.dropout` were applied to it. None
            draws one, as there.

    Returns:
        ``(*, H, Lq, Ev)`` in the dtype of `query`. A query that sees no key gives 0, and has no
        gradient, as in torch. Halves are computed in float32.

    Raises:
        RateError: `dropout_p` is outside [0, 1] or nan.
        RuntimeError: What torch's own function refuses, with its words.
        OptionError: What torch takes and this does not: nested, sparse and complex tensors.

    Source:
        Vaswani et al. 2017, "Attention is all you need". Dao et al. 2022, "FlashAttention".

    >>> x = torch.ones(1, 4, 2)
    >>> scaled_dot_product_attention(x, x, x, dropout_p=0.5, address=Address.from_seed(1))
    tensor([[[1.5000, 1.5000],
             [0.5000, 0.5000],
             [0.5000, 0.5000],
             [1.5000, 1.5000]]])
    """
    return apply_scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask,
        dropout_p,
        is_causal,
        scale,
        enable_gqa,
        address=address,
    )


def apply_scaled_dot_product_attention(  # noqa: PLR0913 - torch's signature
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    *,
    address: Address | None,
    site: nn.Module | None = None,
) -> Tensor:
    """`scaled_dot_product_attention`, called at `site`."""
    threshold = threshold_from_rate(dropout_p, name="dropout_p")
    if threshold == 0:
        return torchs_own(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    tensors = _autocast(
        [query, key, value] if attn_mask is None else [query, key, value, attn_mask]
    )
    if (many := samples.opened()) is not None:
        attend = functools.partial(
            apply_scaled_dot_product_attention,
            dropout_p=dropout_p,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
            address=address,
            site=site,
        )
        return _of_many(many, tensors, attend)
    batch = _batch(*tensors, is_causal=is_causal, enable_gqa=enable_gqa)
    if batch is None:  # torch says what is wrong
        torchs_own(query, key, value, attn_mask, 0.5, is_causal, scale=scale, enable_gqa=enable_gqa)
        got = ", ".join(f"{x.dtype} {x.layout}".replace("torch.", "") for x in tensors)
        raise OptionError(
            f"`query`, `key`, `value` and `attn_mask` must be dense and of a real type; got {got}. "
            "Use torch's own function for these."
        )
    query, key, value, *masks = tensors
    shape = (*batch, query.shape[-2], key.shape[-2])
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    if enable_gqa and key.shape[-3] != value.shape[-3]:
        key, value = (x.repeat_interleave(batch[-1] // x.shape[-3], -3) for x in (key, value))
    key_batch = (*batch[:-1], key.shape[-3]) if enable_gqa else batch
    fours = (
        _in_four(query, batch),
        _in_four(key, key_batch),
        _in_four(value, key_batch),
        _mask_in_four(masks[0], batch) if masks else None,
    )
    out = attention_route.attend(
        fours,
        shape,
        threshold,
        (scale, is_causal),
        address=_ANY if threshold == STEPS else address,
        site=site,
    )
    return out if len(shape) == 4 else out.reshape(*shape[:-1], value.shape[-1])


def _of_many(many: samples.Samples, tensors: list[Tensor], attend: Callable[..., Tensor]) -> Tensor:
    """Attention of several sub-networks, each with the part of the batch that it has."""
    n_dims = max(x.dim() for x in tensors)
    size = max((x.shape[0] for x in tensors if x.dim() == n_dims), default=0)
    cut = [
        iter(x.chunk(many.n)) if x.dim() == n_dims and x.shape[0] == size else itertools.repeat(x)
        for x in tensors
    ]

    def of_part(_: tuple[int, ...]) -> Tensor:
        query, key, value, *masks = (next(parts) for parts in cut)
        return attend(query, key, value, masks[0] if masks else None)

    found, dim = many.results((size, *tensors[0].shape[-2:-1], *tensors[1].shape[-2:-1]), of_part)
    if dim:
        raise samples.ApartError("attention whose queries or keys are what grows with the batch")
    return torch.cat(found)


def _autocast(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors as torch's autocasting hands them to its own function."""
    device = tensors[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return tensors
    to = torch.get_autocast_dtype(device)
    return [x.to(to) if x.is_floating_point() and x.dtype != torch.float64 else x for x in tensors]


def _batch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *,
    is_causal: bool,
    enable_gqa: bool,
) -> tuple[int, ...] | None:
    """The dimensions before the last two of the probabilities; None where the tensors do not fit."""
    three = (query, key, value)
    fits = all(
        x.dim() >= 2 + enable_gqa
        and (x.dtype, x.device, x.layout) == (query.dtype, query.device, torch.strided)
        and not x.is_nested
        for x in three
    )
    if not fits or query.dtype not in CODES:
        return None
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        return None
    batches = [tuple(x.shape[:-2]) for x in three]
    if enable_gqa:
        n_heads = query.shape[-3]
        if any(x.shape[-3] == 0 or n_heads % x.shape[-3] for x in three):
            return None
        batches = [(*batch[:-1], n_heads) for batch in batches]
    batch = _broadcast(*batches)
    if batch is None or attn_mask is None:
        return batch
    shape = (*batch, query.shape[-2], key.shape[-2])
    fits = (
        not is_causal
        and attn_mask.dtype in (torch.bool, torch.float32, query.dtype)
        and (attn_mask.device, attn_mask.layout) == (query.device, torch.strided)
        and _broadcast(tuple(attn_mask.shape), shape) == shape
    )
    return batch if fits else None


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that all broadcast to, as torch's function of that name; None where there is none."""
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    out: list[int] = []
    n_dims = max(len(shape) for shape in shapes)
    padded = [(1,) * (n_dims - len(shape)) + shape for shape in shapes]
    for sizes in zip(*padded, strict=True):
        others = [size for size in sizes if size != 1]
        if any(size != others[0] for size in others):
            return None
        out.append(others[0] if others else 1)
    return tuple(out)


def _in_four(x: Tensor, batch: tuple[int, ...]) -> Tensor:
    """``(*batch, L, E)`` as ``(B, H, L, E)``."""
    if len(batch) == 2 and tuple(x.shape[:-2]) == batch:
        return x
    x = x.expand(*batch, *x.shape[-2:])
    while x.dim() < 4:
        x = x.unsqueeze(0)
    return x.flatten(0, -4)


def _mask_in_four(x: Tensor, batch: tuple[int, ...]) -> Tensor:
    """An attention mask likewise; a dimension of 1 may stand for all that it is broadcast to."""
    while x.dim() < max(4, len(batch) + 2):
        x = x.unsqueeze(0)
    if any(size != 1 for size in x.shape[:-3]):
        x = x.expand(*batch[:-1], *x.shape[-3:])
    return x.flatten(0, -4)
