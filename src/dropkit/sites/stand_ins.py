"""What stands in for each of torch's functions that drop, on dropkit's core."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit import functional
from dropkit.core.binding import CODES
from dropkit.sites.by_hand import bernoulli, uniform_
from dropkit.sites.calls import Function
from dropkit.sites.recurrent import layer_by_layer
from dropkit.sites.replaced import stand_in

#: Ours, with torch's arguments (input, p, training, inplace), and whether torch's is on by default.
_OF_FUNCTIONAL = {
    F.dropout: (functional.dropout, True),
    F.dropout1d: (functional.dropout1d, True),
    F.dropout2d: (functional.dropout2d, True),
    F.dropout3d: (functional.dropout3d, True),
    F.alpha_dropout: (functional.alpha_dropout, False),
    F.feature_alpha_dropout: (functional.feature_alpha_dropout, False),
}


def _feature_dropout(x: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    shape = [*x.shape[:2], *(1 for _ in x.shape[2:])]
    return functional.dropout(x, p, training, inplace, noise_shape=shape)


#: Those of ``torch``, with (input, p, train) and a twin in place whose name ends in an underscore.
_OF_TORCH: dict[str, Function] = {
    "dropout": functional.dropout,
    "feature_dropout": _feature_dropout,
    "alpha_dropout": functional.alpha_dropout,
    "feature_alpha_dropout": functional.feature_alpha_dropout,
}


def register_stand_ins(is_inside: Callable[[], bool]) -> None:
    """From now on they run in the place of replaced functions, where `is_inside` says so.

    A call that dropkit has no kernel for goes to torch all the same.
    """

    def is_ours(x: Any, p: Any) -> bool:
        return (
            is_inside()
            and 0.0 < p <= 1.0
            and x.dtype in CODES
            and not torch.overrides.has_torch_function_unary(x)
        )

    for theirs, (ours, is_on) in _OF_FUNCTIONAL.items():
        stand_in(theirs, _functional(theirs, ours, is_on, is_ours))
    for name, ours in _OF_TORCH.items():
        for one, in_place in ((getattr(torch, name), False), (getattr(torch, f"{name}_"), True)):
            stand_in(one, _torchs(one, ours, in_place, is_ours))
    stand_in(F.scaled_dot_product_attention, _attention(F.scaled_dot_product_attention, is_ours))
    for one in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu):
        stand_in(one, _recurrent(one, is_ours))
    for one in (torch.bernoulli, Tensor.bernoulli, Tensor.bernoulli_):
        stand_in(one, _bernoulli(one, is_inside))
    for one in (torch.rand, torch.rand_like, Tensor.uniform_):
        stand_in(one, _uniform(one, is_inside))


_IsOurs = Callable[[Any, Any], bool]


def _functional(theirs: Function, ours: Function, is_on: bool, is_ours: _IsOurs) -> Function:
    def instead(
        input: Tensor,  # noqa: A002 - torch's own name
        p: float = 0.5,
        training: bool = is_on,
        inplace: bool = False,
    ) -> Any:
        if training and is_ours(input, p):
            return ours(input, p, True, inplace)
        return theirs(input, p, training, inplace)

    return instead


def _torchs(theirs: Function, ours: Function, in_place: bool, is_ours: _IsOurs) -> Function:
    def instead(input: Tensor, p: float, train: bool) -> Any:  # noqa: A002 - torch's own name
        if train and is_ours(input, p):
            return ours(input, p, True, in_place)
        return theirs(input, p, train)

    return instead


def _attention(theirs: Function, is_ours: _IsOurs) -> Function:
    ours = functional.scaled_dot_product_attention  # now: it is replaced itself later

    def instead(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        attention = ours if is_ours(query, dropout_p) else theirs
        return attention(query, key, value, attn_mask, dropout_p, *args, **kwargs)

    return instead


def _recurrent(theirs: Function, is_ours: _IsOurs) -> Function:
    def instead(*args: Any) -> Any:
        n_layers, p, is_training = args[4:7] if isinstance(args[2], (list, tuple)) else args[5:8]
        if n_layers > 1 and is_training and is_ours(args[0], p):
            return layer_by_layer(theirs, *args)
        return theirs(*args)

    return instead


def _bernoulli(theirs: Function, is_inside: Callable[[], bool]) -> Function:
    in_place = theirs is Tensor.bernoulli_
    default = 0.5 if in_place else None

    def instead(x: Tensor, p: Any = default, **kwargs: Any) -> Any:
        if kwargs or torch.compiler.is_compiling() or not is_inside() or x.is_meta:
            return theirs(x, **kwargs) if p is None else theirs(x, p, **kwargs)
        return bernoulli(x, p, is_in_place=in_place)

    return instead


def _uniform(theirs: Function, is_inside: Callable[[], bool]) -> Function:
    is_in_place = theirs is Tensor.uniform_

    def instead(*args: Any, **kwargs: Any) -> Any:
        is_ours = not torch.compiler.is_compiling() and is_inside() and "generator" not in kwargs
        if is_in_place:
            return uniform_(*args, **kwargs) if is_ours else theirs(*args, **kwargs)
        if not is_ours:
            return theirs(*args, **kwargs)
        alike = torch.empty_like if theirs is torch.rand_like else torch.empty
        out = alike(*args, **kwargs)
        with torch.no_grad():
            return uniform_(out) if out.dtype in CODES else theirs(*args, **kwargs)

    return instead
