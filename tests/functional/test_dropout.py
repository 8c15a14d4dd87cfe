"""`dropkit.functional.dropout` behaves as ``F.dropout`` does, and better at the edges."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from dropkit import Address
from dropkit.errors import DtypeError, OptionError, RateError
from dropkit.functional import dropout

ADDRESS = Address.from_seed(1).fold("functional")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize(
    "how",
    [
        {"p": 0.0},
        {"p": 0.0, "inplace": True},
        {"p": 0.0, "mode": "vanilla"},
        {"p": 0.0, "mode": "vanilla", "training": False},
        {"p": 0.5, "training": False},
        {"p": 1.0, "training": False, "inplace": True},
    ],
)
def test_nothing_to_do(how: dict[str, Any]) -> None:
    """At rate 0 and in eval the very same object comes back, and no state advances."""
    x, state = torch.ones(3), torch.get_rng_state()
    assert dropout(x, **how) is x
    assert (0, True) == (x._version, torch.equal(state, torch.get_rng_state()))


@pytest.mark.parametrize("mode", ["inverted", "vanilla"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rate_1(dtype: torch.dtype, mode: Any) -> None:
    """At rate 1 outputs and gradients are +0, also where the input is infinite or nan."""
    x = torch.tensor([1.0, -1.0, math.inf, -math.inf, math.nan], dtype=dtype, requires_grad=True)
    y = dropout(x, 1.0, mode=mode)
    y.backward(torch.full_like(y, math.inf))
    for zeros in (y, x.grad):
        assert [0.0] * 5 == zeros.tolist()
        assert not zeros.signbit().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverted(dtype: torch.dtype) -> None:
    """Survivors are divided by the share that is kept, and the type stays."""
    y = dropout(torch.full((300,), 3.0, dtype=dtype), 0.25, address=ADDRESS)
    assert (dtype, {0.0, 4.0}) == (y.dtype, set(y.tolist()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_vanilla_in_training(dtype: torch.dtype) -> None:
    """The original form leaves survivors as they are, and draws the same mask."""
    x = torch.full((300,), 3.0, dtype=dtype)
    y = dropout(x, 0.25, address=ADDRESS, mode="vanilla")
    assert (dtype, {0.0, 3.0}) == (y.dtype, set(y.tolist()))
    assert torch.equal(dropout(x, 0.25, address=ADDRESS) != 0, y != 0)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_vanilla_in_eval(dtype: torch.dtype, inplace: bool) -> None:
    """The original form multiplies by the share that is kept when not in training."""
    x = torch.full((3,), 3.0, dtype=dtype)
    y = dropout(x, 0.25, False, inplace, mode="vanilla")
    assert (dtype, [2.25] * 3, inplace) == (y.dtype, y.tolist(), y is x)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_inplace(p: float) -> None:
    """In place the same object comes back, changed, and autograd is told by its version."""
    x = torch.ones(200)
    expected = dropout(x, p, address=ADDRESS)
    y = dropout(x, p, inplace=True, address=ADDRESS)
    assert y is x
    assert (1, expected.tolist()) == (x._version, x.tolist())


def test_inplace_gradient() -> None:
    """In place in the middle of a graph, gradients are those of the plain form."""
    x = torch.linspace(-1, 1, 100).requires_grad_()
    (expected,) = torch.autograd.grad(dropout(x * 2, 0.5, address=ADDRESS).sin().sum(), x)
    (drawn,) = torch.autograd.grad(dropout(x * 2, 0.5, True, True, address=ADDRESS).sin().sum(), x)
    assert expected.tolist() == drawn.tolist()


def test_inplace_on_a_leaf() -> None:
    """In place on a leaf that needs a gradient is torch's own error."""
    x = torch.ones(3, requires_grad=True)
    message = "a leaf Variable that requires grad is being used in an in-place operation."
    with pytest.raises(RuntimeError, match="^" + re.escape(message) + "$"):
        dropout(x, 0.5, inplace=True)
    assert [1.0, 1.0, 1.0] == x.tolist()


def _shapes() -> dict[str, Tensor]:
    images = torch.linspace(1, 2, 120).reshape(2, 3, 4, 5)
    return {
        "0-d": torch.tensor(1.5),
        "one": torch.ones(1),
        "empty": torch.ones(0),
        "empty rows": torch.ones(3, 0, 2),
        "transposed": images[0, 0].t(),
        "permuted": images.permute(2, 0, 3, 1),
        "every other": images[:, ::2, :, 1::2],
        "channels last": images.to(memory_format=torch.channels_last),
        "channels last of one": images[:, :1].to(memory_format=torch.channels_last),
        "channels last 3d": images[None].to(memory_format=torch.channels_last_3d),
        "expanded": torch.linspace(1, 2, 5).expand(4, 5),
        "expanded from one": torch.ones(()).expand(6),
        "expanded inside": images[:, :1].expand(2, 7, 4, 5),
    }


@pytest.mark.parametrize("name", list(_shapes()))
def test_any_strides(name: str) -> None:
    """Strides do not change a mask: an element's place is its place in the tensor."""
    x = _shapes()[name].requires_grad_()
    y = dropout(x, 0.5, address=ADDRESS)
    y.sum().backward()
    straight = x.detach().contiguous()
    plain = dropout(straight, 0.5, address=ADDRESS)
    assert torch.equal(plain, y)
    assert torch.equal(dropout(torch.ones_like(straight), 0.5, address=ADDRESS), x.grad)


@pytest.mark.parametrize("name", list(_shapes()))
def test_memory_format(name: str) -> None:
    """The output is laid out as ``F.dropout``'s."""
    x = _shapes()[name]
    theirs = torch.nn.functional.dropout(x, 0.5)
    ours = dropout(x, 0.5)
    told = [torch.contiguous_format, *([torch.channels_last] if x.dim() == 4 else [])]
    assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype)
    assert [theirs.is_contiguous(memory_format=f) for f in told] == [
        ours.is_contiguous(memory_format=f) for f in told
    ]
    if min(x.shape, default=1) > 1:  # a dimension of one may have any stride
        assert theirs.stride() == ours.stride()


def test_explicit_address() -> None:
    """Equal addresses give equal masks, others give others."""
    x = torch.ones(200)
    first = dropout(x, 0.5, address=Address(1, 2))
    assert torch.equal(first, dropout(x, 0.5, address=Address(1, 2)))
    assert not torch.equal(first, dropout(x, 0.5, address=Address(1, 3)))
    assert not torch.equal(first, dropout(x, 0.5, address=Address(2, 2)))


def test_recorded_mask() -> None:
    """Seed 1 draws the mask recorded with version 0.1, on every machine."""
    y = dropout(torch.ones(8), 0.5, address=Address.from_seed(1))
    assert [2.0, 2.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0] == y.tolist()


def test_mode_is_one_of_two() -> None:
    """Another mode is refused, also where nothing would be dropped."""
    message = "`mode` must be 'inverted' or 'vanilla'; got 'alpha'."
    for p in (0.0, 0.5):
        with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
            dropout(torch.ones(3), p, mode="alpha")


def test_rate_is_checked_in_eval_too() -> None:
    """A wrong rate is refused whether it acts or not."""
    message = "`p` must be a drop rate in [0, 1]; got 50. Did you mean 0.5?"
    for training in (True, False):
        with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
            dropout(torch.ones(3), 50, training)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_dtype_is_checked(p: float) -> None:
    """Integers are refused."""
    message = (
        "`x` must be a tensor of float32, float64, bfloat16, float16; "
        "got int64. Convert it first, e.g. x.float()."
    )
    with pytest.raises(DtypeError, match="^" + re.escape(message) + "$"):
        dropout(torch.arange(3), p)
