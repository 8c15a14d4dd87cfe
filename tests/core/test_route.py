"""A plain call: gradients through the survivors, nothing kept, and the other ways into torch."""

import gc
import re
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from dropkit import Address, masks_at
from dropkit.errors import DtypeError
from dropkit.functional import dropout

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
ADDRESS = Address(1, 2**64 - 2)


def half(x: Tensor) -> Tensor:
    """Drop half of `x`, always the same half."""
    return dropout(x, 0.5, address=ADDRESS)


def rowwise(x: Tensor) -> Tensor:
    """Drop half of `x` by the masks of examples 4, 0 and 4."""
    with masks_at(seed=2, rows=[4, 0, 4]):
        return dropout(x, 0.5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward AD
@pytest.mark.parametrize("function", [half, rowwise])
def test_gradcheck(function) -> None:
    """First and second derivatives and tangents are right in float64."""
    x = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: function(x) ** 2, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_draws_the_same_mask(dtype: torch.dtype) -> None:
    """The gradient is mask times scale."""
    x = torch.full((400,), 3.0, dtype=dtype, requires_grad=True)
    y = half(x)
    y.backward(torch.ones_like(y))
    kept = y != 0
    assert 100 < int(kept.sum()) < 300
    assert torch.equal(torch.where(kept, 2.0, 0.0).to(dtype), x.grad)


def test_expanded_gradient() -> None:
    """A gradient of one element expanded over all, as from ``sum``, gives the same."""
    x = torch.ones(400, requires_grad=True)
    y = half(x)
    y.sum().backward()
    assert torch.equal(y.detach(), x.grad)


def test_gradient_of_dropped_elements_is_zero() -> None:
    """No gradient flows through a dropped element, not even an infinite one."""
    x = torch.ones(400, requires_grad=True)
    y = half(x)
    y.backward(torch.full_like(y, torch.inf))
    assert {0.0} == set(x.grad[y == 0].tolist())


def test_nothing_is_saved() -> None:
    """Autograd saves no tensor."""
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        half(torch.ones(8, requires_grad=True))
    assert [] == saved


def test_saved_tensors_check_can_fail() -> None:
    """The check above sees what torch's own dropout saves."""
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        torch.nn.functional.dropout(torch.ones(8, requires_grad=True), 0.5)
    assert [] != saved


def test_input_dies_after_forward() -> None:
    """The output keeps nothing of its input alive."""
    leaf = torch.ones(8, requires_grad=True)
    x = leaf * 2
    dies = weakref.ref(x)
    y = half(x)
    del x
    gc.collect()
    assert dies() is None
    assert y.requires_grad


def _reachable(root: Any) -> list[Any]:
    """Everything that `root` holds, except classes, modules and functions' worlds."""
    seen, todo, found = {id(root)}, [root], []
    while todo:
        for item in gc.get_referents(todo.pop()):
            stop = isinstance(item, (type, type(gc))) or callable(item)
            if id(item) not in seen and not stop:
                seen.add(id(item))
                todo.append(item)
                found.append(item)
    return found


def test_no_tensor_is_held_by_the_graph() -> None:
    """The node of the graph holds numbers only."""
    node = half(torch.ones(8, requires_grad=True)).grad_fn
    assert [] == [item for item in _reachable(node) if isinstance(item, Tensor)]
    assert (1, 2**64 - 2, 32768, True, None) == node.mask


def test_walk_can_fail() -> None:
    """The walk finds a tensor that a node does hold."""
    node = half(torch.ones(8, requires_grad=True)).grad_fn
    node.mask = (*node.mask, torch.ones(1))
    assert 1 == len([item for item in _reachable(node) if isinstance(item, Tensor)])


def test_negated_view() -> None:
    """A lazily negated view is negated before its memory is read."""
    x = torch.linspace(1, 2, 32)
    expected = half(-x)
    assert torch.equal(expected, half(torch._neg_view(x)))


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.int64, "int64"), (torch.bool, "bool"), (torch.complex64, "complex64")],
)
def test_refuses_other_dtypes(dtype: torch.dtype, name: str) -> None:
    """A tensor of another type is refused with the types there are."""
    message = (
        "`x` must be a tensor of float32, float64, bfloat16, float16; "
        f"got {name}. Convert it first, e.g. x.float()."
    )
    with pytest.raises(DtypeError, match="^" + re.escape(message) + "$"):
        half(torch.zeros(3, dtype=dtype))
