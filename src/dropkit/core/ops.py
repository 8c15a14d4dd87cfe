"""Dropout as operators that torch knows: for compilers, fake tensors and other dispatch modes.

``dropkit::draw`` makes a mask, an int64 tensor ``(key, stream, threshold)``, and is the only one
that is random; ``dropkit::dropout`` is a pure function of tensor and mask, so that a compiler may
recompute it in backward as often as it likes. ``rows`` is the row index of each row of the first
dimension, for masks that belong to examples.
"""

import itertools
from collections.abc import MutableMapping
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from dropkit.core import kernels
from dropkit.core.compiled import drawn_once
from dropkit.core.naming import ambient_words
from dropkit.core.place import Place
from dropkit.core.rate import FROM_SITE, STEPS
from dropkit.core.scope import current_scope
from dropkit.errors import CoreError

_library = torch.library.Library("dropkit", "DEF")
# `threshold` may be `FROM_SITE`: then it is asked for when the operator runs. `number` is from
# `compiled.draw_number`, and negative outside of compiled graphs.
_library.define(
    "draw(SymInt threshold, Tensor? site, int number=-1, str? name=None) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.nondeterministic_seeded),
)
_library.define(
    "draw_rows(SymInt n_rows, int number=-1) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.nondeterministic_seeded),
)
_library.define(
    "kept_share(Tensor site, int number=-1) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.nondeterministic_seeded),
)
_library.define(
    "dropout(Tensor x, Tensor mask, bool is_scaled, Tensor? rows=None) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)

_library.define(
    "dropout_add(Tensor x, Tensor residual, Tensor mask, bool is_scaled, Tensor? rows=None)"
    " -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)

# A compiled graph cannot hold a module, but it can hold a tensor with the module's number.
_sites: MutableMapping[int, nn.Module] = WeakValueDictionary()
_numbers = itertools.count(1)


def site_number(module: nn.Module) -> Tensor:
    """A new number for `module`: ``()`` int64 on the CPU."""
    number = next(_numbers)
    _sites[number] = module
    return torch.tensor(number, dtype=torch.int64, device="cpu")


def mask_tensor(key: int, stream: int, threshold: int) -> Tensor:
    """The mask of an address at a rate: ``(3,)`` int64 on the CPU."""
    return torch.tensor([_signed(key), _signed(stream), threshold], dtype=torch.int64, device="cpu")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _draw(threshold: int, site: Tensor | None, number: int = -1, name: str | None = None) -> Tensor:
    return drawn_once(number, lambda: _new_mask(threshold, site, name))


def _new_mask(threshold: int, site: Tensor | None, name: str | None) -> Tensor:
    if threshold == FROM_SITE and site is not None:
        threshold = _threshold_of(site)
        if threshold in (0, STEPS):  # no bit is read, so none is drawn: as in eager mode
            return mask_tensor(0, 0, threshold)
    scope = current_scope()
    if scope is None:
        return mask_tensor(*ambient_words(), threshold)
    module = None if site is None else _sites.get(int(site.item()))
    address = scope.next_address(module, name)
    return mask_tensor(address.key, address.stream, threshold)


def _threshold_of(site: Tensor) -> int:
    module = _sites.get(int(site.item()))
    if module is None:
        raise CoreError("a compiled graph has outlived the layer whose rate it reads.")
    threshold: Any = module.threshold  # whoever asks for a number of its own has it
    return int(threshold)


def _kept_share(site: Tensor, number: int = -1) -> Tensor:
    return drawn_once(number, lambda: _share(_threshold_of(site)))


def _share(threshold: int) -> Tensor:
    return torch.tensor((STEPS - threshold) / STEPS, dtype=torch.float64, device="cpu")


def _draw_rows(n_rows: int, number: int = -1) -> Tensor:
    return drawn_once(number, lambda: _new_rows(n_rows))


def _new_rows(n_rows: int) -> Tensor:
    scope = current_scope()
    place = None if scope is None else scope.place((n_rows, 1))
    if place is None:
        return torch.arange(n_rows)
    ids = torch.as_tensor(list(place.row_indices()), dtype=torch.int64)
    return rows_of_examples(ids, place.row_stride)


def rows_of_examples(ids: Tensor, m: int) -> Tensor:
    """The row indices ``(B * m,)`` of ``(B,)`` examples of `m` rows each."""
    return (ids.unsqueeze(1) * m + torch.arange(m)).reshape(-1)


def _dropout(x: Tensor, mask: Tensor, is_scaled: bool, rows: Tensor | None = None) -> Tensor:
    key, stream, threshold = mask.tolist()
    return kernels.dropout(x, key, stream, threshold, is_scaled, _place(x, rows))


def _dropout_add(
    x: Tensor, residual: Tensor, mask: Tensor, is_scaled: bool, rows: Tensor | None = None
) -> Tensor:
    key, stream, threshold = mask.tolist()
    return kernels.dropout_add(x, residual, key, stream, threshold, is_scaled, _place(x, rows))


def _place(x: Tensor, rows: Tensor | None) -> Place | None:
    if rows is None or not x.numel():
        return None
    return Place(x.shape[0], x.numel() // x.shape[0], row_ids=rows)


def _save_mask(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *_, mask, ctx.is_scaled, rows = inputs
    ctx.save_for_backward(mask, rows)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    mask, rows = ctx.saved_tensors
    return torch.ops.dropkit.dropout(grad, mask, ctx.is_scaled, rows), None, None, None


def _backward_add(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    dropped, *none = _backward(ctx, grad)
    return dropped, grad, *none


def mapped(
    info: Any, in_dims: tuple[Any, ...], x: Tensor, mask: Tensor, is_scaled: bool, rows: Any = None
) -> tuple[Tensor, int]:
    """The operator over a batch of `x`, of masks or of both; see ``torch.library.register_vmap``."""
    op = torch.ops.dropkit.dropout
    x_dim, mask_dim, *_ = in_dims
    x = x.expand(info.batch_size, *x.shape) if x_dim is None else x.movedim(x_dim, 0)
    if mask_dim is not None:  # each example has a mask of its own
        masks = mask.movedim(mask_dim, 0)
        pairs = zip(x, masks, strict=True)
        return torch.stack([op(one, own, is_scaled, rows) for one, own in pairs]), 0
    # One mask for all examples: each begins at the row that the mask begins at.
    if rows is None or x.dim() == 1:
        return op(x, mask, is_scaled, torch.zeros(x.shape[0], dtype=torch.int64)), 0
    out = op(x.flatten(0, 1), mask, is_scaled, rows.repeat(x.shape[0]))
    return out.reshape(x.shape), 0


def _fake(x: Tensor, mask: Tensor, is_scaled: bool, rows: Tensor | None = None) -> Tensor:
    del mask, is_scaled, rows
    kernels.check_dtype(x)
    return torch.empty_like(x)


def _fake_add(x: Tensor, residual: Tensor, mask: Tensor, *how: Any) -> Tensor:
    del residual
    return _fake(x, mask, *how)


for _name, _kernel in {
    "draw": _draw,
    "draw_rows": _draw_rows,
    "kept_share": _kept_share,
    "dropout": _dropout,
    "dropout_add": _dropout_add,
}.items():
    _library.impl(_name, _kernel, "CompositeExplicitAutograd")
torch.library.register_fake(
    "dropkit::draw", lambda *_: torch.empty(3, dtype=torch.int64), lib=_library
)
torch.library.register_fake(
    "dropkit::draw_rows", lambda n_rows, *_: torch.empty(n_rows, dtype=torch.int64), lib=_library
)
torch.library.register_fake(
    "dropkit::kept_share", lambda *_: torch.empty((), dtype=torch.float64), lib=_library
)
torch.library.register_fake("dropkit::dropout", _fake, lib=_library)
torch.library.register_autograd(
    "dropkit::dropout", _backward, setup_context=_save_mask, lib=_library
)
torch.library.register_fake("dropkit::dropout_add", _fake_add, lib=_library)
torch.library.register_autograd(
    "dropkit::dropout_add", _backward_add, setup_context=_save_mask, lib=_library
)
torch.library.register_vmap("dropkit::dropout", mapped, lib=_library)
