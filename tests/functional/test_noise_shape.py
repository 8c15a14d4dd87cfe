"""`noise_shape`: one element of the mask decides on all that it is broadcast to."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import jacfwd, vmap

import dropkit
from dropkit import Address, masks_at
from dropkit.core import reference
from dropkit.core.ops import mask_tensor
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold, threshold_from_rate
from dropkit.errors import AddressError, DtypeError, OptionError
from dropkit.functional import dropout

ADDRESS = Address.from_seed(1).fold("noise")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SHAPE = (3, 4, 5)
SHARED = [(None, None, 1), (1, None, None), (None, 1, None), (1, 4, 1), (1, 1, 1), (3, 4, 1)]
OP = torch.ops.dropkit.apply_noise


def _noise_sizes(noise_shape: tuple[int | None, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n or size for n, size in zip(noise_shape, shape, strict=True))


def _by_hand(x: Tensor, p: float, address: Address, noise_shape: Any, mode: str) -> Tensor:
    """The definition: the slow twin draws the noise tensor, and its bits are broadcast."""
    sizes, threshold = _noise_sizes(noise_shape, x.shape), threshold_from_rate(p)
    n = math.prod(sizes)
    keep = reference.keep_mask(address.key, address.stream, threshold, Place.whole(n), n)
    wide = x if x.dtype == torch.float64 else x.float()
    scale = scale_from_threshold(threshold) if mode == "inverted" else 1.0
    scaled = wide * torch.tensor(scale, dtype=wide.dtype)
    return torch.where(keep.view(sizes), scaled, torch.zeros_like(scaled)).to(x.dtype)


def per_channel(x: Tensor) -> Tensor:
    """Drop whole rows of the last dimension of `x`, always the same."""
    return dropout(x, 0.5, noise_shape=(None, None, 1), address=ADDRESS)


def per_channel_of_examples(x: Tensor) -> Tensor:
    """The same under the masks of examples 4, 0 and 4."""
    with masks_at(seed=2, rows=[4, 0, 4]):
        return dropout(x, 0.5, noise_shape=(None, None, 1))


@pytest.mark.parametrize("mode", ["inverted", "vanilla"])
@pytest.mark.parametrize("noise_shape", SHARED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_definition(dtype: torch.dtype, noise_shape: Any, mode: Any, bits: Any) -> None:
    """Bit for bit the broadcast noise tensor of the slow twin, at several rates."""
    x = torch.linspace(-1, 1, 60).to(dtype).reshape(SHAPE)
    for p in (2**-16, 0.1, 0.5, 0.9):
        expected = _by_hand(x, p, ADDRESS, noise_shape, mode)
        found = dropout(x, p, mode=mode, noise_shape=noise_shape, address=ADDRESS)
        assert bits(expected) == bits(found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.7])
def test_every_half_is_rounded_once(dtype: torch.dtype, p: float, bits: Any) -> None:
    """Kept halves of all 65536 bit patterns are scaled as the kernels scale them."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)[:, None].expand(-1, 2)
    shared = dropout(x, p, noise_shape=(None, 1), address=ADDRESS)
    scale = scale_from_threshold(threshold_from_rate(p))
    ordinary = reference.dropout(x, 0, 0, 0, scale, Place.whole(x.numel()))  # nothing is dropped
    kept = dropout(torch.ones(2**16, 1), p, address=ADDRESS)[:, 0] != 0
    assert bits(ordinary[kept]) == bits(shared[kept])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inplace", [False, True])
def test_dropped_are_zero_whatever_they_were(dtype: torch.dtype, inplace: bool) -> None:
    """Dropped infinities and nans, and their gradients, are +0."""
    worst = torch.tensor([math.inf, -math.inf, math.nan, -1.0], dtype=dtype)
    x = worst.repeat(40, 1).requires_grad_()
    y = dropout(x * 1, 0.5, True, inplace, noise_shape=(None, 1), address=ADDRESS)
    y.backward(torch.full_like(y, -math.inf))
    dropped = dropout(torch.ones(40, 1), 0.5, address=ADDRESS)[:, 0] == 0
    for zeros in (y[dropped], x.grad[dropped]):
        assert {0.0} == set(zeros.flatten().tolist())
        assert not zeros.signbit().any()
    assert 0 < int(dropped.sum()) < 40


@pytest.mark.parametrize("noise_shape", [(None, None, None), SHAPE, (3, None, 5)])
@pytest.mark.parametrize("inplace", [False, True])
def test_full_noise_shape_is_the_ordinary_call(noise_shape: Any, inplace: bool) -> None:
    """Where nothing is shared it is dropout as ever, bit for bit, ambient and named."""
    x = torch.linspace(1, 2, 60).reshape(SHAPE)
    for block in (masks_at(1), masks_at(1, rows=[7, 3, 7])):
        with block:
            expected = dropout(x, 0.5)
        with block:
            found = dropout(x.clone(), 0.5, inplace=inplace, noise_shape=noise_shape)
        assert torch.equal(expected, found)
    torch.manual_seed(1)
    expected = dropout(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(expected, dropout(x, 0.5, noise_shape=noise_shape))


@pytest.mark.parametrize("noise_shape", SHARED)
def test_inplace(noise_shape: Any) -> None:
    """In place the same object comes back, with the same bits and gradients."""
    x = torch.linspace(-1, 1, 60).reshape(SHAPE).requires_grad_()
    how = {"noise_shape": noise_shape, "address": ADDRESS}
    expected = dropout(x * 2, 0.5, **how)
    written = x * 2
    assert dropout(written, 0.5, inplace=True, **how) is written
    assert torch.equal(expected, written)
    gradients = [torch.autograd.grad(y.sin().sum(), x)[0] for y in (expected, written)]
    assert torch.equal(*gradients)
    plain = x.detach().clone()
    dropout(plain, 0.5, inplace=True, **how)
    assert plain._version > 0
    assert torch.equal(dropout(x.detach(), 0.5, **how), plain)


def test_inplace_on_a_leaf() -> None:
    """In place on a leaf that needs a gradient is torch's own error, and nothing is written."""
    x = torch.ones(3, 3, requires_grad=True)
    message = "a leaf Variable that requires grad is being used in an in-place operation."
    with pytest.raises(RuntimeError, match="^" + re.escape(message) + "$"):
        dropout(x, 0.5, inplace=True, noise_shape=(None, 1))
    assert {1.0} == set(x.flatten().tolist())


@pytest.mark.parametrize("name", ["channels last", "transposed", "expanded", "empty", "view"])
def test_any_strides(name: str) -> None:
    """Strides change no mask, and the output is laid out as torch's own."""
    images = torch.linspace(1, 2, 120).reshape(2, 3, 4, 5)
    x = {
        "channels last": images.to(memory_format=torch.channels_last),
        "transposed": images.transpose(0, 3),
        "expanded": images[:, :1].expand(2, 7, 4, 5),
        "empty": images[:, :, :0],
        "view": images[:, 1:, ::2],
    }[name].requires_grad_()
    how = {"noise_shape": (None, None, 1, 1), "address": ADDRESS}
    y = dropout(x, 0.5, **how)
    y.sum().backward()
    assert torch.equal(dropout(x.detach().contiguous(), 0.5, **how), y)
    assert torch.equal(dropout(torch.ones_like(x), 0.5, **how), x.grad)
    theirs = torch.nn.functional.dropout(x, 0.5)
    assert theirs.shape == y.shape
    assert theirs.stride() == y.stride() or name == "empty"


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward AD
@pytest.mark.parametrize("function", [per_channel, per_channel_of_examples])
def test_gradcheck(function: Any) -> None:
    """First and second derivatives, tangents and batched gradients are right in float64."""
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(3, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: function(x) ** 2, x)


def test_nothing_is_kept() -> None:
    """Autograd saves no tensor, and the node holds numbers only."""
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        y = per_channel(torch.ones(3, 4, 5, requires_grad=True))
    assert [] == saved
    assert (ADDRESS.key, ADDRESS.stream, 32768, (3, 4, 1), "inverted", None) == y.grad_fn.noise


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward AD
def test_transforms() -> None:
    """Under vmap and forward mode an example has the mask that it has alone, or one of its own."""
    x = torch.linspace(1, 2, 4 * 6 * 2).reshape(4, 6, 2)

    def half(x: Tensor) -> Tensor:
        return dropout(x, 0.5, noise_shape=(None, 1), address=ADDRESS)

    def any_half(x: Tensor) -> Tensor:
        return dropout(x, 0.5, noise_shape=(None, 1))

    alone = torch.stack([half(one) for one in x])
    assert torch.equal(alone, vmap(half)(x))
    assert torch.equal(alone, vmap(half, in_dims=1)(x.transpose(0, 1)))
    assert torch.equal(torch.diag(half(torch.ones(6, 2)).flatten()), _jacobian(half, x[0]))
    kept = vmap(any_half, randomness="different")(torch.ones(99, 6, 2)) != 0
    assert torch.equal(kept[..., 0], kept[..., 1])
    assert 20 < len({tuple(row) for row in kept[..., 0].tolist()})
    with masks_at(seed=1, rows=[3, 9]):
        mapped = vmap(any_half)(x)
    with masks_at(seed=1, rows=[3, 9]):
        assert torch.equal(mapped[1], any_half(x[1]))


def _jacobian(function: Any, x: Tensor) -> Tensor:
    return jacfwd(function)(x).reshape(x.numel(), x.numel())


@pytest.mark.parametrize("noise_shape", [(None, None, 1), (None, 1, None), (None, 1, 1)])
def test_rows(noise_shape: Any) -> None:
    """An example's mask does not depend on its batch, whatever is shared within the example."""

    def drawn(n: int, rows: Any) -> Tensor:
        with masks_at(seed=5, rows=rows):
            return dropout(torch.ones(n, 6, 7), 0.5, noise_shape=noise_shape)

    whole = drawn(10, None)
    assert torch.equal(whole, drawn(10, 0))
    assert torch.equal(whole[3:6], drawn(3, 3))
    assert torch.equal(whole[[8, 2, 8]], drawn(3, [8, 2, 8]))


def test_rows_of_a_mask_that_examples_share() -> None:
    """Where the examples share a mask, which of them are in the batch changes nothing."""
    with masks_at(seed=5):
        whole = dropout(torch.ones(10, 7), 0.5, noise_shape=(1, None))
    with masks_at(seed=5, rows=[8, 2, 5]):
        part = dropout(torch.ones(3, 7), 0.5, noise_shape=(1, None))
    assert torch.equal(whole[:3], part)


def test_rows_are_checked() -> None:
    """A batch that ids do not fit is refused as ever."""
    message = (
        "`rows` must name the examples that the first dimension holds; got 2 of them "
        "for a tensor of shape (3, 1). Give one an example of the batch."
    )
    with (
        masks_at(seed=1, rows=[1, 2]),
        pytest.raises(AddressError, match="^" + re.escape(message) + "$"),
    ):
        dropout(torch.ones(3, 4), 0.5, noise_shape=(None, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", ["inverted", "vanilla"])
def test_opcheck(dtype: torch.dtype, law: str) -> None:
    """The examination that torch has for operators passes, with rows and without."""
    mask = mask_tensor(5, 2**64 - 6, 32768)
    for x in (torch.ones(2, 3, 4, dtype=dtype), torch.ones(4, 3, 2, dtype=dtype).mT):
        leaf = x.detach().requires_grad_()
        sizes = [x.shape[0], x.shape[1], 1]
        torch.library.opcheck(OP, (leaf, mask, sizes, law))
        torch.library.opcheck(OP, (leaf, mask, sizes, law, torch.arange(x.shape[0])))


@pytest.mark.filterwarnings("ignore")  # compiling at all makes torch's own code warn
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_is_eager(dynamic: bool, trained: Any) -> None:
    """One graph, and the bits of eager code: ambient, named, in place and of any size."""
    torch._dynamo.reset()
    layer = dropkit.nn.Dropout(0.5, noise_shape=(None, 1, None))

    def model(x: Tensor) -> Tensor:
        inner = layer(x.sin()) + dropout(x, 0.3, noise_shape=(1, None, 1), address=ADDRESS)
        return dropout(inner * 2, 0.5, True, True, mode="vanilla", noise_shape=(None, None, 1))

    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    x = torch.linspace(-1, 1, 6 * 5 * 4).reshape(6, 5, 4)
    for name in (None, masks_at(3, step=1), masks_at(3, rows=range(8, 14)), masks_at(3, rows=5)):
        for a, b in zip(trained(model, x, name), trained(compiled, x, name), strict=True):
            assert torch.equal(a, b)


def test_layer() -> None:
    """The layer draws what the function draws, and its repr says the shape where there is one."""
    layer = dropkit.nn.Dropout(0.5, noise_shape=[None, 1])
    assert "Dropout(p=0.5, inplace=False, noise_shape=(None, 1))" == repr(layer)
    x = torch.ones(9, 4)
    with masks_at(seed=1):
        expected = dropout(x, 0.5, noise_shape=(None, 1))
    with masks_at(seed=1):
        assert torch.equal(expected, layer(x))
    assert layer.eval()(x) is x


@pytest.mark.parametrize("noise_shape", [(None,), (None, 1, 1), (3, 5), (2, 1), ()])
@pytest.mark.parametrize("training", [True, False])
def test_noise_shape_must_fit(noise_shape: Any, training: bool) -> None:
    """A noise shape that does not fit is refused with both shapes, whether it acts or not."""
    message = (
        "`noise_shape` must have an entry for each dimension of `x`: 1 where its elements are "
        f"dropped together, else None; got {noise_shape} for a tensor of shape (3, 4)."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropout(torch.ones(3, 4), 0.5, training, noise_shape=noise_shape)


@pytest.mark.parametrize("noise_shape", [3, (0, 1), (-1, 1), (1.0, None), (True, None), "ab"])
def test_layers_noise_shape_is_checked(noise_shape: Any) -> None:
    """What no tensor could have is refused by the constructor."""
    message = (
        "`noise_shape` must be a tuple with an entry for each dimension: 1 where its elements "
        f"are dropped together, else None; got {noise_shape!r}."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropkit.nn.Dropout(0.5, noise_shape=noise_shape)


def test_dtype_is_checked() -> None:
    """Integers are refused as in the ordinary call."""
    message = (
        "`x` must be a tensor of float32, float64, bfloat16, float16; "
        "got int64. Convert it first, e.g. x.float()."
    )
    with pytest.raises(DtypeError, match="^" + re.escape(message) + "$"):
        dropout(torch.ones(3, 4, dtype=torch.int64), 0.5, noise_shape=(None, 1))
