"""Noise tensors as an operator that torch knows: for compilers and other dispatch modes.

A pure function of its tensors, one of which is the mask that ``dropkit::draw`` drew; see `ops`.
"""

from typing import Any

import torch
from torch import Tensor

from dropkit.core import kernels
from dropkit.core.laws import SLOPES
from dropkit.core.noise import Noise, apply
from dropkit.core.place import Place

_library = torch.library.Library("dropkit", "FRAGMENT")
_library.define(
    "apply_noise(Tensor x, Tensor mask, SymInt[] shape, str law, Tensor? rows=None) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _apply(
    x: Tensor, mask: Tensor, shape: list[int], law: str, rows: Tensor | None = None
) -> Tensor:
    place = None
    if rows is not None and len(rows):
        place = Place(len(rows), torch.Size(shape).numel() // len(rows), row_ids=rows)
    key, stream, threshold = mask.tolist()
    return apply(x, Noise(key, stream, threshold, tuple(shape), law, place))


def _fake(x: Tensor, *_: Any) -> Tensor:
    kernels.check_dtype(x)
    return torch.empty_like(x)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    _, mask, ctx.shape, ctx.law, rows = inputs
    ctx.save_for_backward(mask, rows)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    mask, rows = ctx.saved_tensors
    op = torch.ops.dropkit.apply_noise
    return op(grad, mask, ctx.shape, SLOPES.get(ctx.law, ctx.law), rows), None, None, None, None


def mapped(
    info: Any,
    in_dims: tuple[Any, ...],
    x: Tensor,
    mask: Tensor,
    shape: tuple[int, ...],
    law: str,
    rows: Tensor | None = None,
) -> tuple[Tensor, int]:
    """The operator over a batch of `x`, of masks or of both; see ``torch.library.register_vmap``."""
    op = torch.ops.dropkit.apply_noise
    x_dim, mask_dim, *_ = in_dims
    x = x.expand(info.batch_size, *x.shape) if x_dim is None else x.movedim(x_dim, 0)
    if mask_dim is None:  # one mask for all examples: its noise has one more dimension to share
        return op(x, mask, [1, *shape], law, rows), 0
    pairs = zip(x, mask.movedim(mask_dim, 0), strict=True)
    return torch.stack([op(one, own, shape, law, rows) for one, own in pairs]), 0


_library.impl("apply_noise", _apply, "CompositeExplicitAutograd")
torch.library.register_fake("dropkit::apply_noise", _fake, lib=_library)
torch.library.register_autograd(
    "dropkit::apply_noise", _backward, setup_context=_save, lib=_library
)
torch.library.register_vmap("dropkit::apply_noise", mapped, lib=_library)
