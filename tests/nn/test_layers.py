"""All layers: drop-ins for torch's, sites of their own, pure functions of their masks' names."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit import functional, masks_at
from dropkit.errors import RateError
from dropkit.nn._layer import Layer
from support_layers import OF_PAPERS

#: Of ours: an input's shape, and the function that the layer is.
INPUTS: dict[str, tuple[tuple[int, ...], Callable[..., Tensor]]] = {
    "AlphaDropout": ((4, 30), functional.alpha_dropout),
    "Dropout": ((4, 30), functional.dropout),
    "Dropout1d": ((4, 30, 2), functional.dropout1d),
    "Dropout2d": ((4, 30, 2, 3), functional.dropout2d),
    "Dropout3d": ((4, 30, 2, 1, 3), functional.dropout3d),
    "FeatureAlphaDropout": ((4, 30, 2), functional.feature_alpha_dropout),
    "GaussianDropout": ((4, 30), functional.gaussian_dropout),
}
LAYERS = [*INPUTS, "LockedDropout"]
TORCHS = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


def made(name: str, *arguments: Any) -> nn.Module:
    """A layer of ours."""
    layer: nn.Module = getattr(dropkit.nn, name)(*arguments)
    return layer


def given(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """An input for a layer of this name."""
    shape = INPUTS[name][0] if name in INPUTS else (5, 4, 30)
    return torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=dtype).reshape(shape)


def named(layer: nn.Module, x: Tensor) -> Tensor:
    """The output under a name that is always the same."""
    with masks_at(seed=1):
        out: Tensor = layer(x)
    return out


def test_every_layer_is_here() -> None:
    """A layer that is exported is tested; those of papers in a file of their own."""
    assert sorted({*LAYERS, *OF_PAPERS}) == dropkit.nn.__all__


@pytest.mark.parametrize("arguments", [(), (0.1,), (0.1, True), (1,), (0,)])
@pytest.mark.parametrize("name", TORCHS)
def test_constructor_and_repr(name: str, arguments: tuple[Any, ...]) -> None:
    """Positional arguments, attributes, repr, class and the empty state dict are torch's."""
    ours, theirs = made(name, *arguments), getattr(nn, name)(*arguments)
    assert isinstance(ours, type(theirs))
    assert repr(theirs) == repr(ours)
    assert (theirs.p, theirs.inplace) == (ours.p, ours.inplace)
    assert (type(theirs.p), theirs.state_dict()) == (type(ours.p), ours.state_dict())


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", LAYERS)
def test_rate_is_checked(name: str, p: float) -> None:
    """A wrong rate is refused by the constructor, and where it was set later, by the call."""
    message = f"`p` must be a drop rate in [0, 1]; got {p}."
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        made(name, p)
    layer = made(name, 0.5)
    layer.p = p
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        layer(given(name))


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_to_do(name: str) -> None:
    """At rate 0 and in eval the input itself comes back, and no generator advances."""
    x, state = given(name), torch.get_rng_state()
    assert made(name, 0.0)(x) is x
    assert made(name, 0.5).eval()(x) is x
    assert (0, True) == (x._version, torch.equal(state, torch.get_rng_state()))


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "GaussianDropout"])
def test_rate_1(name: str) -> None:
    """At rate 1 outputs and gradients are +0, also where the input is nan."""
    x = torch.full_like(given(name), torch.nan).requires_grad_()
    y = made(name, 1.0)(x)
    y.sum().backward()
    for zeros in (y, x.grad):
        assert {0.0} == set(zeros.flatten().tolist())
        assert not zeros.signbit().any()


@pytest.mark.parametrize("name", list(INPUTS))
def test_same_masks_as_the_function(name: str) -> None:
    """The layer is the function called at its site."""
    function, x = INPUTS[name][1], given(name)

    class ByHand(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x, 0.5, True)

    assert torch.equal(named(ByHand(), x), named(made(name, 0.5), x))
    torch.manual_seed(1)
    expected = function(x, 0.5, True)
    torch.manual_seed(1)
    assert torch.equal(expected, made(name, 0.5)(x))


@pytest.mark.parametrize("name", LAYERS)
def test_inplace(name: str) -> None:
    """In place the input itself comes back, changed; alpha dropout writes to no input, as torch."""
    x = given(name)
    expected, layer = named(made(name, 0.5), x), made(name, 0.5, True)
    written = x.clone()
    y = named(layer, written)
    assert torch.equal(expected, y)
    is_written = name not in ("AlphaDropout", "FeatureAlphaDropout")
    assert is_written == (y is written)
    if name in TORCHS:
        theirs = x.clone()
        getattr(nn, name)(0.5, True)(theirs)
        assert is_written == (theirs._version > 0)


@pytest.mark.parametrize("name", [name for name in LAYERS if "Alpha" not in name])
def test_inplace_gradient(name: str) -> None:
    """In place in the middle of a graph, gradients are those of the plain form."""
    x = given(name).requires_grad_()
    plain, inplace = made(name, 0.5), made(name, 0.5, True)
    gradients = [
        torch.autograd.grad(named(layer, x * 2).sin().sum(), x)[0] for layer in (plain, inplace)
    ]
    assert torch.equal(*gradients)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward AD
@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck(name: str) -> None:
    """First and second derivatives and tangents are right in float64."""
    x = given(name)[:2, :3].clone().requires_grad_()
    layer = made(name, 0.5)
    assert torch.autograd.gradcheck(lambda x: named(layer, x), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: named(layer, x) ** 2, x)


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_is_saved(name: str) -> None:
    """Autograd saves no tensor."""
    saved: list[Tensor] = []
    x = given(name).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        made(name, 0.5)(x)
    assert [] == saved


@pytest.mark.parametrize("name", LAYERS)
def test_permuted(name: str) -> None:
    """Strides change no mask: an element's place is its place in the tensor."""
    x = given(name)
    order = [*range(x.dim() - 1, -1, -1)]
    permuted = x.permute(order).contiguous().permute(order)
    assert not permuted.is_contiguous()
    assert torch.equal(named(made(name, 0.5), x), named(made(name, 0.5), permuted))


@pytest.mark.parametrize("name", LAYERS)
def test_copies(name: str, again: Any) -> None:
    """A copy, a pickle and a saved file bring back the same layer, as a site of its own."""
    layer = made(name, 0.3)
    other = again(layer.eval())
    assert (type(layer), repr(layer), False) == (type(other), repr(other), other.training)
    assert int(layer._site_number) != int(other._site_number)
    x = given(name)
    assert torch.equal(named(layer.train(), x), named(other.train(), x))


@pytest.mark.parametrize("name", TORCHS)
def test_adopt_and_release(name: str) -> None:
    """One of torch's layers becomes ours in place, and itself again."""
    theirs, x = getattr(nn, name)(0.4), given(name)
    before, ours = dict(vars(theirs)), Layer.of_torchs[type(theirs)]
    ours.adopt(theirs)
    assert (getattr(dropkit.nn, name), repr(made(name, 0.4))) == (type(theirs), repr(theirs))
    assert torch.equal(named(made(name, 0.4), x), named(theirs, x))
    assert torch.equal(named(theirs, x), named(copy.deepcopy(theirs), x))
    ours.release(theirs)
    assert type(theirs) is getattr(nn, name)
    assert before == vars(theirs)


def test_every_layer_of_torchs_has_one_of_ours() -> None:
    """What torch calls a dropout layer can be adopted."""
    torchs = nn.modules.dropout
    assert {getattr(torchs, name) for name in torchs.__all__} == set(Layer.of_torchs)


class Everything(nn.Module):
    """All layers one behind the other, each on the shape it wants."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.drops = nn.ModuleDict({name: made(name, 0.3, inplace) for name in LAYERS})
        self.drops["LockedDropout"].batch_first = True

    def forward(self, x: Tensor) -> Tensor:
        """The sum over the layers of what becomes of ``(N, C)``, repeated in space."""
        total = x.sin()
        for name, layer in self.drops.items():
            spatial = [2] * (given(name).dim() - 2)
            y = (x.exp() - total).reshape(*x.shape, *[1] * len(spatial)).repeat(1, 1, *spatial)
            total = total + layer(y).reshape(*x.shape, -1).mean(-1).tanh()
        return total


@pytest.mark.filterwarnings("ignore")  # compiling at all makes torch's own code warn
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
@pytest.mark.parametrize("inplace", [False, True])
def test_compiled_is_eager(backend: str, inplace: bool, trained: Any) -> None:
    """With fullgraph, ambient, named and with rows: outputs, gradients and generator agree."""
    torch._dynamo.reset()
    model = Everything(inplace)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    x = torch.linspace(-1, 1, 6 * 20).reshape(6, 20)
    for name in (None, masks_at(3, step=1), masks_at(3, rows=range(8, 14)), masks_at(3, rows=5)):
        for a, b in zip(trained(model, x, name), trained(compiled, x, name), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore")  # compiling at all makes torch's own code warn
@pytest.mark.parametrize("name", LAYERS)
def test_compiled_bits(name: str) -> None:
    """A layer alone, compiled, gives eager code's bits in forward and backward."""
    torch._dynamo.reset()
    layer, x = made(name, 0.3), given(name, torch.float32).requires_grad_()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    pair = []
    for function in (layer, compiled):
        y = named(function, x)
        pair.append((y, *torch.autograd.grad(y.sin().sum(), x)))
    for a, b in zip(*pair, strict=True):
        assert torch.equal(a, b)


def test_locked() -> None:
    """One mask over time, another in each sequence; time first or second, the same."""
    x = torch.linspace(1, 2, 5 * 4 * 30).reshape(5, 4, 30)
    y = named(dropkit.nn.LockedDropout(0.5), x)
    kept = y != 0
    assert bool((kept == kept[0]).all())
    assert 4 == len({tuple(one) for one in kept[0].tolist()})
    assert torch.equal(torch.where(kept, 2 * x, 0), y)
    batch_first = named(dropkit.nn.LockedDropout(0.5, batch_first=True), x.transpose(0, 1))
    assert torch.equal(y, batch_first.transpose(0, 1))
    assert y.is_contiguous()


@pytest.mark.parametrize("batch_first", [False, True])
def test_locked_rows(batch_first: bool) -> None:
    """A sequence's mask does not depend on its batch, nor on its length."""
    layer = dropkit.nn.LockedDropout(0.5, batch_first=batch_first)
    at, shape = (0, (8, 3, 9)) if batch_first else (1, (3, 8, 9))
    with masks_at(seed=1):
        whole = layer(torch.ones(shape)).select(1 - at, 0)
    with masks_at(seed=1, rows=[6, 2]):
        part = layer(torch.ones((2, 7, 9) if batch_first else (7, 2, 9)))
    assert torch.equal(whole[[6, 2]], part.select(1 - at, 5))


def test_locked_repr_and_shape() -> None:
    """The repr says which dimension is the batch where it is the first; one is not enough."""
    layer = dropkit.nn.LockedDropout(0.5, batch_first=True)
    assert "LockedDropout(p=0.5, inplace=False, batch_first=True)" == repr(layer)
    message = "`input` must have a dimension of time and one of the batch; got the shape (3,)."
    with pytest.raises(dropkit.errors.ShapeError, match="^" + re.escape(message) + "$"):
        layer(torch.ones(3))


def test_gaussian_rate_1() -> None:
    """There is no such layer at rate 1, and none can be made so."""
    message = (
        "`p` must be a drop rate below 1 for gaussian dropout; got 1. Its variance is p / (1 - p)."
    )
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        made("GaussianDropout", 1)
    layer = made("GaussianDropout", 0.5)
    layer.p = 1
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        layer(torch.ones(3))
