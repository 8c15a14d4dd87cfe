"""The ways into torch, and which of them a call takes.

*Plain* tensors, all of ordinary eager training, take an ``autograd.Function`` that calls the
kernel itself. A registered operator costs several times as much on a small tensor: its autograd
and its kernel are Python behind the dispatcher, twice there and twice back.

*Compilers and dispatch modes* get the operators of `ops`, which they can see and move.

*Function transforms and forward-mode differentiation* get an ``autograd.Function`` with rules for
them around the operator.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from dropkit.core import kernels, ops, samples, shards
from dropkit.core.address import Address
from dropkit.core.compiled import draw_number
from dropkit.core.naming import ambient_words, rows_are_open
from dropkit.core.place import Place
from dropkit.core.rate import FROM_SITE, STEPS
from dropkit.core.scope import current_scope
from dropkit.core.traced_names import name_in_trace

_PLAIN = (Tensor, nn.Parameter)
_functorch = torch._C._functorch  # noqa: SLF001 - the transforms have no public "am I inside?"
_n_dispatch_modes = torch._C._len_torch_dispatch_stack  # noqa: SLF001 - likewise
_tracing_state = torch._C._get_tracing_state  # noqa: SLF001 - likewise


def dropout(
    x: Tensor,
    threshold: int,
    *,
    is_scaled: bool = True,
    address: Address | None = None,
    site: nn.Module | None = None,
    is_batch: bool = True,
) -> Tensor:
    """Drop elements of `x` at a rate of ``threshold / 65536``, under `address` or a drawn mask.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        threshold: In 1..65536; in a compiled graph also `FROM_SITE`.
        is_scaled: False leaves the kept elements as they are.
        address: Names the mask; None draws one.
        site: The module that asks, for named masks.
        is_batch: Whether the first dimension holds examples, whose rows `masks_at` may name; that
            of a parameter does not.
    """
    rows_of = x.shape if is_batch else ()
    if torch.compiler.is_compiling():
        return _compiled(x, rows_of, threshold, is_scaled, address, site)
    scope = current_scope()  # not samples.opened(): small tensors feel each call
    if scope is not None and isinstance(scope, samples.Samples):
        run = functools.partial(dropout, address=address, site=site, is_batch=is_batch)
        draw = functools.partial(run, threshold=threshold, is_scaled=is_scaled)
        return scope.each(x, draw, is_batch=is_batch)
    if not is_plain(x):
        return _general(x, rows_of, threshold, is_scaled, address, site)
    key, stream, place = eager_mask(rows_of, address, site)
    if x.requires_grad and torch.is_grad_enabled():
        out: Tensor = _apply_masked(x, (key, stream, threshold, is_scaled, place))
        return out
    return kernels.dropout(x, key, stream, threshold, is_scaled, place)


def eager_mask(
    shape: Sequence[int], address: Address | None, site: nn.Module | None
) -> tuple[int, int, Place | None]:
    """Key, stream and place of the mask that a plain tensor of this shape gets."""
    if address is not None:
        return address.key, address.stream, None
    scope = current_scope()
    if scope is None:
        key, stream = ambient_words()
        return key, stream, None
    place = scope.place(shape)
    address = scope.next_address(site)
    return address.key, address.stream, place


def dropout_(
    x: Tensor,
    threshold: int,
    *,
    is_scaled: bool = True,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`dropout`, written to `x`; returns `x`."""
    if not (x.is_contiguous() and can_overwrite(x)) or samples.opened() is not None:
        dropped = dropout(x, threshold, is_scaled=is_scaled, address=address, site=site)
        return x.copy_(dropped)
    key, stream, place = eager_mask(x.shape, address, site)
    mask = (key, stream, threshold, is_scaled, place)
    if x.requires_grad and torch.is_grad_enabled():
        out: Tensor = _MaskedInPlace.apply(x, mask)
        return out
    kernels.dropout_(x, *mask)
    torch.autograd.graph.increment_version(x)
    return x


def can_overwrite(x: Tensor) -> bool:
    """Whether we may write to `x` ourselves; where not, ``copy_`` does, and torch sees to it."""
    is_recorded = x.requires_grad and torch.is_grad_enabled()
    return (
        not torch.compiler.is_compiling()
        and is_plain(x)
        and not x.is_inference()
        and not (is_recorded and (x.is_leaf or x._is_view()))  # noqa: SLF001 - no public name
    )


def is_plain(x: Tensor) -> bool:
    """Whether `x` is a tensor of ordinary eager training, which nothing but autograd watches."""
    return (
        type(x) in _PLAIN
        and _n_dispatch_modes() == 0
        and _functorch.peek_interpreter_stack() is None
        and not _functorch.is_functorch_wrapped_tensor(x)
        and forward_ad._current_level < 0  # noqa: SLF001 - no public "am I inside?"
        and _tracing_state() is None
    )


_Mask = tuple[int, int, int, bool, Place | None]


class _Masked(torch.autograd.Function):
    """Keeps the numbers of the mask and no tensor; backward draws the bits again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: _Mask) -> Tensor:
        ctx.mask = mask
        return kernels.dropout(x, *mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return masked(grad, ctx.mask), None


class _MaskedInPlace(_Masked):
    """The same, written over the input, which dropout does not need again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: _Mask) -> Tensor:
        ctx.mask = mask
        ctx.mark_dirty(x)
        kernels.dropout_(x, *mask)
        return x


# Function.apply without its look for transforms: a plain tensor is in none.
_apply_masked = super(torch.autograd.Function, _Masked).apply


def is_transformed(x: Tensor) -> bool:
    """Whether `x` is in a function transform, in forward-mode differentiation or sharded."""
    return (
        _functorch.peek_interpreter_stack() is not None
        or _functorch.is_functorch_wrapped_tensor(x)
        or _functorch.is_legacy_batchedtensor(x)
        or forward_ad._current_level >= 0  # noqa: SLF001 - no public "am I inside?"
        or shards.is_sharded(x)
    )


def masked(x: Tensor, mask: _Mask) -> Tensor:
    """Dropout under a known mask: key, stream, threshold, `is_scaled` and place."""
    # ``torch.autograd.grad(is_grads_batched=True)`` still batches in a way of its own
    if is_plain(x) and not _functorch.is_legacy_batchedtensor(x):
        if x.requires_grad and torch.is_grad_enabled():
            out: Tensor = _apply_masked(x, mask)
            return out
        return kernels.dropout(x, *mask)
    key, stream, threshold, is_scaled, place = mask
    rows = None
    if place is not None:
        ids = torch.as_tensor(list(place.row_indices()), dtype=torch.int64)
        rows = ops.rows_of_examples(ids, x.shape[0] // place.rows)
    return _transformed(x, ops.mask_tensor(key, stream, threshold), is_scaled, rows)


def _general(
    x: Tensor,
    rows_of: Sequence[int],
    threshold: int,
    is_scaled: bool,
    address: Address | None,
    site: nn.Module | None,
) -> Tensor:
    kernels.check_dtype(x)
    if shards.is_sharded(x):
        return _sharded(x, threshold, is_scaled, address, site)
    mask, rows = general_mask(rows_of, threshold, address, site)
    return _transformed(x, mask, is_scaled, rows)


def general_mask(
    shape: Sequence[int], threshold: int, address: Address | None, site: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    """Mask and rows as tensors that dispatch modes and transforms see; see `ops`."""
    scope = current_scope()
    if address is not None:
        return ops.mask_tensor(address.key, address.stream, threshold), None
    if scope is None and _is_mapped():
        # Mapped randomness is torch's to rule: it refuses, draws once, or draws for each example.
        words = torch.randint(-(1 << 63), (1 << 63) - 1, (2,), device="cpu")
        return torch.cat([words, torch.tensor([threshold], device="cpu")]), None
    mask = torch.ops.dropkit.draw(threshold, None if site is None else _number_of(site))
    if scope is not None and scope.has_rows and len(shape):
        return mask, torch.ops.dropkit.draw_rows(shape[0])
    return mask, None


def _sharded(
    x: Tensor, threshold: int, is_scaled: bool, address: Address | None, site: nn.Module | None
) -> Tensor:
    key, stream = words_of_all(address, site)
    return shards.on_each_shard(
        x, lambda local, place: masked(local, (key, stream, threshold, is_scaled, place))
    )


def words_of_all(address: Address | None, site: nn.Module | None) -> tuple[int, int]:
    """Key and stream of a mask that all processes draw parts of."""
    scope = current_scope()
    if address is None and scope is not None:
        address = scope.next_address(site)
    if address is not None:
        return address.key, address.stream
    return ambient_words(is_shared=True)  # so all must have been seeded alike


def _compiled(
    x: Tensor,
    rows_of: Sequence[int],
    threshold: int,
    is_scaled: bool,
    address: Address | None,
    site: nn.Module | None,
) -> Tensor:
    mask, rows = compiled_mask(rows_of, threshold, address, site)
    out: Tensor = torch.ops.dropkit.dropout(x, mask, is_scaled, rows)
    return out


def compiled_mask(
    shape: Sequence[int], threshold: int, address: Address | None, site: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    """Mask and rows as tensors of the graph that is being compiled; see `ops`."""
    if address is not None:
        return ops.mask_tensor(address.key, address.stream, threshold), None
    site_number = None if site is None else _number_of(site)
    mask = torch.ops.dropkit.draw(threshold, site_number, draw_number(), name_in_trace(site))
    if rows_are_open() and len(shape):
        return mask, torch.ops.dropkit.draw_rows(shape[0], draw_number())
    return mask, None


def shrunk(x: Tensor, threshold: int, site: nn.Module | None) -> Tensor:
    """`x` times the share that is kept at this threshold, which may be `FROM_SITE`."""
    if threshold != FROM_SITE or site is None:
        return x * ((STEPS - threshold) / STEPS)
    share = torch.ops.dropkit.kept_share(_number_of(site), draw_number())
    return torch.where(share > 0, x * share, 0.0)


def _number_of(site: nn.Module) -> Tensor | None:
    return getattr(site, "_site_number", None)


def _is_mapped() -> bool:
    stack = _functorch.get_interpreter_stack() or ()
    return any(level.key() == _functorch.TransformType.Vmap for level in stack)


def _transformed(x: Tensor, mask: Tensor, is_scaled: bool, rows: Tensor | None) -> Tensor:
    if _functorch.peek_interpreter_stack() is None and forward_ad._current_level < 0:  # noqa: SLF001
        out: Tensor = torch.ops.dropkit.dropout(x, mask, is_scaled, rows)
    else:
        out = _Transformable.apply(x, mask, is_scaled, rows)
    return out


class _Transformable(torch.autograd.Function):
    """The operator with rules for ``torch.func`` and forward-mode differentiation.

    It is linear in `x`, so gradient and tangent go through the same mask.
    """

    @staticmethod
    def forward(x: Tensor, mask: Tensor, is_scaled: bool, rows: Tensor | None) -> Tensor:
        out: Tensor = torch.ops.dropkit.dropout(x, mask, is_scaled, rows)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        _, mask, ctx.is_scaled, rows = inputs
        ctx.save_for_backward(mask, rows)
        ctx.save_for_forward(mask, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        mask, rows = ctx.saved_tensors
        return _transformed(grad, mask, ctx.is_scaled, rows), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        mask, rows = ctx.saved_tensors
        return _transformed(tangent, mask, ctx.is_scaled, rows)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
        return ops.mapped(info, in_dims, *args)
