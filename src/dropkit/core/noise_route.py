"""The ways of noise tensors into torch; which of them a call takes is as in `route`."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core import kernels, noise_ops, ops, route, samples, shards
from dropkit.core.address import Address
from dropkit.core.laws import SLOPES
from dropkit.core.noise import Noise, apply, apply_
from dropkit.core.place import Place

#: The laws that the kernels themselves obey.
_ORDINARY = ("inverted", "vanilla")


def dropout(
    x: Tensor,
    threshold: int,
    shape: tuple[int, ...],
    *,
    law: str,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """Apply `law` to `x` with noise of this shape, at a rate of ``threshold / 65536``.

    Args:
        x: ``(*)`` float32, float64, bfloat16 or float16.
        threshold: In 1..65536.
        shape: Of the noise: for each dimension of `x` its size, or 1 where elements share it.
        law: A name of `laws.LAWS`, or `laws.GAUSSIAN`.
        address: Names the mask; None draws one.
        site: The module that asks, for named masks.
    """
    if law in _ORDINARY and shape == x.shape:
        is_scaled = law == "inverted"
        return route.dropout(x, threshold, is_scaled=is_scaled, address=address, site=site)
    examples = _examples(x, shape)
    if torch.compiler.is_compiling():
        mask, rows = route.compiled_mask(examples, threshold, address, site)
        out: Tensor = torch.ops.dropkit.apply_noise(x, mask, shape, law, rows)
        return out
    if (many := samples.opened()) is not None:

        def of_part(part: Tensor) -> Tensor:
            own = samples.of_part(shape, x.shape, part.shape)
            return dropout(part, threshold, own, law=law, address=address, site=site)

        return many.each(x, of_part)
    if route.is_plain(x):
        key, stream, place = route.eager_mask(examples, address, site)
        return masked(x, Noise(key, stream, threshold, shape, law, place))
    kernels.check_dtype(x)
    if shards.is_sharded(x):
        key, stream = route.words_of_all(address, site)
        return _sharded(x, Noise(key, stream, threshold, shape, law))
    mask, rows = route.general_mask(examples, threshold, address, site)
    return _transformed(x, mask, shape, law, rows)


def dropout_(
    x: Tensor,
    threshold: int,
    shape: tuple[int, ...],
    *,
    law: str,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`dropout`, written to `x`; returns `x`."""
    if law in _ORDINARY and shape == x.shape:
        is_scaled = law == "inverted"
        return route.dropout_(x, threshold, is_scaled=is_scaled, address=address, site=site)
    if not route.can_overwrite(x) or samples.opened() is not None:
        return x.copy_(dropout(x, threshold, shape, law=law, address=address, site=site))
    key, stream, place = route.eager_mask(_examples(x, shape), address, site)
    noise = Noise(key, stream, threshold, shape, law, place)
    if x.requires_grad and torch.is_grad_enabled():
        out: Tensor = _NoisyInPlace.apply(x, noise)
        return out
    apply_(x, noise)
    return x


def dropout_of_rows(
    x: Tensor,
    row_ids: Tensor,
    threshold: int,
    *,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """Drop whole rows of `x`, and scale the others: row `r` by element ``row_ids[r]`` of the noise.

    Args:
        x: ``(n, width)`` float32, float64, bfloat16 or float16.
        row_ids: ``(n,)`` int64 on the CPU. Equal ids have one fate.
        threshold: In 1..65536.
        address: Names the mask; None draws one.
        site: The module that asks, for named masks.
    """
    law, shape = "inverted", (x.shape[0], 1)
    if torch.compiler.is_compiling():
        mask, _ = route.compiled_mask((), threshold, address, site)
        out: Tensor = torch.ops.dropkit.apply_noise(x, mask, shape, law, row_ids)
        return out
    if (many := samples.opened()) is not None:
        ids = iter(row_ids.chunk(many.n))
        run = functools.partial(dropout_of_rows, address=address, site=site)
        return many.each(x, lambda part: run(part, next(ids), threshold))
    if route.is_plain(x):
        key, stream, _ = route.eager_mask((), address, site)
        place = Place(len(row_ids), 1, row_ids=row_ids)
        return masked(x, Noise(key, stream, threshold, shape, law, place))
    kernels.check_dtype(x)
    mask, _ = route.general_mask((), threshold, address, site)
    return _transformed(x, mask, shape, law, row_ids)


def masked(x: Tensor, noise: Noise) -> Tensor:
    """Dropout under known noise."""
    if route.is_plain(x) and not route.is_transformed(x):
        if x.requires_grad and torch.is_grad_enabled():
            out: Tensor = _apply_noisy(x, noise)
            return out
        return apply(x, noise)
    key, stream, threshold, shape, law, place = noise
    rows = None
    if place is not None:
        rows = ops.rows_of_examples(place.row_tensor(), shape[0] // place.rows)
    return _transformed(x, ops.mask_tensor(key, stream, threshold), shape, law, rows)


def _examples(x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The noise's shape where its first dimension is that of `x`; () where examples share it."""
    return shape if shape and shape[0] == x.shape[0] else ()


def _sharded(x: Tensor, noise: Noise) -> Tensor:
    is_shared = [n != size for n, size in zip(noise.shape, x.shape, strict=True)]

    def of_shard(local: Tensor, place: Any) -> Tensor:
        shape = tuple(1 if s else n for n, s in zip(local.shape, is_shared, strict=True))
        return masked(local, noise._replace(shape=shape, place=place))

    return shards.on_each_shard(x, of_shard, noise.shape)


class _Noisy(torch.autograd.Function):
    """Keeps the numbers of the noise and no tensor; backward draws it again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Noise) -> Tensor:
        ctx.noise = noise
        return apply(x, noise)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        law = ctx.noise.law
        return masked(grad, ctx.noise._replace(law=SLOPES.get(law, law))), None


# Function.apply without its look for transforms: a plain tensor is in none.
_apply_noisy = super(torch.autograd.Function, _Noisy).apply


class _NoisyInPlace(_Noisy):
    """The same, written over the input, which is not needed again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Noise) -> Tensor:
        ctx.noise = noise
        ctx.mark_dirty(x)
        apply_(x, noise)
        return x


def _transformed(
    x: Tensor, mask: Tensor, shape: tuple[int, ...], law: str, rows: Tensor | None
) -> Tensor:
    if route.is_transformed(x):
        out: Tensor = _Transformable.apply(x, mask, shape, law, rows)
    else:
        out = torch.ops.dropkit.apply_noise(x, mask, shape, law, rows)
    return out


class _Transformable(torch.autograd.Function):
    """The operator with rules for ``torch.func`` and forward-mode differentiation."""

    @staticmethod
    def forward(
        x: Tensor, mask: Tensor, shape: tuple[int, ...], law: str, rows: Tensor | None
    ) -> Tensor:
        out: Tensor = torch.ops.dropkit.apply_noise(x, mask, shape, law, rows)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        _, mask, ctx.shape, law, rows = inputs
        ctx.slope = SLOPES.get(law, law)
        ctx.save_for_backward(mask, rows)
        ctx.save_for_forward(mask, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mask, rows = ctx.saved_tensors
        return _transformed(grad, mask, ctx.shape, ctx.slope, rows), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        mask, rows = ctx.saved_tensors
        return _transformed(tangent, mask, ctx.shape, ctx.slope, rows)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
        return noise_ops.mapped(info, in_dims, *args)
