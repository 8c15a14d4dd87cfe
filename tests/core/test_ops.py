"""Dropout is an operator that torch knows: schema, fake, gradients, and nothing kept."""

import gc
import re
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from dropkit.core import ops
from dropkit.core.place import Place
from dropkit.errors import DtypeError

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
OP = torch.ops.dropkit.dropout
HALF = (32768, 2.0)


def _layouts(dtype: torch.dtype) -> list[Tensor]:
    base = torch.linspace(-1, 1, 48).to(dtype).reshape(2, 3, 2, 4)
    return [
        base,
        base.permute(3, 1, 0, 2),
        base[:, ::2],
        base.to(memory_format=torch.channels_last),
        base[:, :1].expand(2, 5, 2, 4),
        torch.ones(1, 1, 5, dtype=dtype).expand(3, 1, 5),
        base[0, 0, 0, 0],
        base[:0],
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", range(8))
@pytest.mark.parametrize("has_grad", [False, True])
def test_opcheck(dtype: torch.dtype, layout: int, has_grad: bool) -> None:
    """The examination that torch has for operators passes for each dtype and layout."""
    x = _layouts(dtype)[layout].detach().requires_grad_(has_grad)
    torch.library.opcheck(OP, (x, 5, -6, *HALF))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ids", [None, [9, 2]])
def test_opcheck_with_a_place(dtype: torch.dtype, ids: list[int] | None) -> None:
    """It passes with rows and ids too."""
    x = torch.ones(2, 7, dtype=dtype, requires_grad=True)
    row_ids = None if ids is None else torch.tensor(ids)
    torch.library.opcheck(OP, (x, 5, 6, *HALF), {"place": [2, 9, 4, 1], "row_ids": row_ids})


@pytest.mark.parametrize("layout", range(8))
def test_fake_has_the_real_layout(layout: int) -> None:
    """Shape, strides and dtype of the fake output are those of the real one."""
    x = _layouts(torch.float32)[layout]
    with torch._subclasses.FakeTensorMode() as mode:
        fake = OP(mode.from_tensor(x), 1, 2, *HALF)
    real = OP(x, 1, 2, *HALF)
    assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


@pytest.mark.parametrize(
    "place", [None, Place(3, 7, 2, 1), Place(3, 9, row_ids=torch.tensor([4, 0, 4]))]
)
def test_gradcheck(place: Place | None) -> None:
    """First and second derivatives are right in float64."""
    x = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(3, 5).requires_grad_()

    def function(x: Tensor) -> Tensor:
        return ops.dropout(x, 2**64 - 1, 2**63, *HALF, place)

    assert torch.autograd.gradcheck(function, x, check_forward_ad=False)
    assert torch.autograd.gradgradcheck(lambda x: function(x) ** 2, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_draws_the_same_mask(dtype: torch.dtype) -> None:
    """The gradient is mask times scale."""
    x = torch.full((400,), 3.0, dtype=dtype, requires_grad=True)
    y = OP(x, 1, 2, *HALF)
    y.backward(torch.ones_like(y))
    kept = y != 0
    assert 100 < int(kept.sum()) < 300
    assert torch.equal(torch.where(kept, 2.0, 0.0).to(dtype), x.grad)


def test_expanded_gradient() -> None:
    """A gradient of one element expanded over all, as from ``sum``, gives the same."""
    x = torch.ones(400, requires_grad=True)
    y = OP(x, 1, 2, *HALF)
    y.sum().backward()
    assert torch.equal(y.detach(), x.grad)


def test_gradient_of_dropped_elements_is_zero() -> None:
    """No gradient flows through a dropped element, not even an infinite one."""
    x = torch.ones(400, requires_grad=True)
    y = OP(x, 1, 2, *HALF)
    y.backward(torch.full_like(y, torch.inf))
    assert {0.0} == set(x.grad[y == 0].tolist())


def test_nothing_is_saved() -> None:
    """Autograd saves no tensor."""
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        OP(torch.ones(8, requires_grad=True), 1, 2, *HALF)
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
    y = OP(x, 1, 2, *HALF)
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
    node = OP(torch.ones(8, requires_grad=True), 1, 2, *HALF).grad_fn
    assert [] == [item for item in _reachable(node) if isinstance(item, Tensor)]
    assert (1, 2, 32768, 2.0, None, None) == node.numbers


def test_walk_can_fail() -> None:
    """The walk finds a tensor that a node does hold."""
    node = OP(torch.ones(8, requires_grad=True), 1, 2, *HALF).grad_fn
    node.numbers = (*node.numbers, torch.ones(1))
    assert 1 == len([item for item in _reachable(node) if isinstance(item, Tensor)])


def test_negated_view() -> None:
    """A lazily negated view is negated before its memory is read."""
    x = torch.linspace(1, 2, 32)
    expected = OP(-x, 1, 2, *HALF)
    assert torch.equal(expected, OP(torch._neg_view(x), 1, 2, *HALF))


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
        ops.dropout(torch.zeros(3, dtype=dtype), 1, 2, *HALF)
