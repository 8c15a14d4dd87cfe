"""What a model answers to a batch, for a comparison to the bit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from dropkit.auditing.outputs import named_outputs
from dropkit.auditing.runs import explained
from dropkit.errors import FreezeError, OptionError
from dropkit.sites.untouched import generators_kept
from dropkit.sites.watch import arguments_of

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


def checked_arguments(batch: Any) -> Arguments:
    """A copy of what the model is called with.

    Raises:
        OptionError: `batch` is of another kind, or holds no example.
    """
    args, kwargs = arguments_of(batch)
    found = [x for x in tree_leaves((args, dict(kwargs))) if isinstance(x, Tensor)]
    for x in found:
        if x.dim() and x.shape[0] == 0:
            raise OptionError(
                f"`batch` must hold at least one example; got a tensor of shape {tuple(x.shape)}."
            )
    return copied((args, kwargs))


def copied(arguments: Arguments) -> Arguments:
    """The arguments again, for a model that writes to them."""
    args, kwargs = arguments
    return tree_map(_clone, args), {name: tree_map(_clone, value) for name, value in kwargs.items()}


def _clone(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, Tensor) else x


def answers(model: nn.Module, arguments: Arguments, *, seed: int = 0) -> dict[str, Tensor]:
    """The tensors that `model` returns, by name, in the mode that it is in and without gradients.

    Args:
        model: Any module.
        arguments: Of its call.
        seed: Of torch's generator; it stands afterwards where it stood before.

    Raises:
        AuditError: The model raises.
        FreezeError: It returns no tensor.
    """
    args, kwargs = copied(arguments)
    with generators_kept(model), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        with explained("model", "run on `batch`; its forward in eval mode"):
            output = model(*args, **kwargs)
    return tensors_of(output)


def tensors_of(output: Any) -> dict[str, Tensor]:
    """The tensors in what a model returns, by name.

    Raises:
        FreezeError: There are none.
    """
    found = {name: x.detach() for name, x in named_outputs(output)}
    if not found:
        leaves = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
        found = {str(number): x.detach() for number, x in enumerate(leaves)}
    if not found:
        raise FreezeError(
            f"`model` must return a tensor to be compared; got a {type(output).__name__}."
        )
    return found


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The greatest absolute difference; infinity where names or shapes differ."""
    if ours.keys() != theirs.keys() or any(ours[k].shape != theirs[k].shape for k in ours):
        return float("inf")
    return max(
        (
            float((ours[k].double() - theirs[k].double()).abs().nan_to_num(0.0, float("inf")).max())
            for k in ours
            if ours[k].numel()
        ),
        default=0.0,
    )


def is_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Whether all are equal to the bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
