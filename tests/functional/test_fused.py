"""Dropout together with what stands around it: the values of the plain forms, and less kept."""

import re

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit import Address, masks_at
from dropkit import functional as D  # noqa: N812 - beside F
from dropkit.errors import OptionError

ADDRESS = Address(3, 4)
WIDTH = 24


def plain(x: Tensor, p: float) -> Tensor:
    """Dropout alone, under the address of all these tests."""
    return D.dropout(x, p, address=ADDRESS)


PAIRS = {
    "dropout_add": (
        lambda x, r, p: D.dropout_add(x, r, p, address=ADDRESS),
        lambda x, r, p: plain(x, p) + r,
    ),
    "bias_dropout_add": (
        lambda x, r, p: D.bias_dropout_add(x, r[0], r, p, address=ADDRESS),
        lambda x, r, p: plain(x + r[0], p) + r,
    ),
    "gelu_dropout": (
        lambda x, r, p: D.gelu_dropout(x, p, approximate="tanh", address=ADDRESS) * r,
        lambda x, r, p: plain(F.gelu(x, approximate="tanh"), p) * r,
    ),
    "relu_dropout": (
        lambda x, r, p: D.relu_dropout(x, p, address=ADDRESS) * r,
        lambda x, r, p: plain(F.relu(x), p) * r,
    ),
    "dropout_add_layer_norm": (
        lambda x, r, p: torch.cat(D.dropout_add_layer_norm(x, r, r[0], r[1], p, address=ADDRESS)),
        lambda x, r, p: torch.cat(
            [F.layer_norm(plain(x, p) + r, (WIDTH,), r[0], r[1]), plain(x, p) + r]
        ),
    ),
    "dropout_add_rms_norm": (
        lambda x, r, p: torch.cat(D.dropout_add_rms_norm(x, r, r[0], p, address=ADDRESS)),
        lambda x, r, p: torch.cat([F.rms_norm(plain(x, p) + r, [WIDTH], r[0]), plain(x, p) + r]),
    ),
}


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A tensor and a residual, both waiting for gradients."""
    made = torch.Generator().manual_seed(1)
    x, r = (torch.randn(5, WIDTH, generator=made, dtype=torch.float64) for _ in range(2))
    return x.to(dtype).requires_grad_(), r.to(dtype).requires_grad_()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_the_plain_form(name, p, dtype) -> None:
    """Fusing changes no bit of the output, and of the gradients none that matters."""
    results = []
    for function in PAIRS[name]:
        x, r = inputs(dtype)
        y = function(x, r, p)
        y.square().sum().backward()
        results.append((y.detach(), x.grad, r.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_rounded_once(dtype) -> None:
    """``dropout_add`` of halves is the float32 sum, rounded."""
    x, r = inputs(dtype)
    wide = plain(x.float(), 0.3) + r.float()
    assert torch.equal(wide.to(dtype), D.dropout_add(x, r, 0.3, address=ADDRESS))


@pytest.mark.parametrize("name", PAIRS)
def test_derivatives(name) -> None:
    """First and second derivatives are right in float64."""
    function, _ = PAIRS[name]
    x, r = inputs(torch.float64)
    with torch.no_grad():  # away from the corner of relu
        x.add_(x.sign() * 0.1)
    x, r = x[:2], r[:2]
    assert torch.autograd.gradcheck(lambda x, r: function(x, r, 0.3), (x, r))
    assert torch.autograd.gradgradcheck(lambda x, r: function(x, r, 0.3), (x, r))


SAVED = {"dropout_add": 0, "gelu_dropout": 1, "relu_dropout": 1}


@pytest.mark.parametrize("name", SAVED)
def test_no_mask_is_kept(name) -> None:
    """Autograd saves what the activation needs and nothing for dropout."""
    functions = {
        "dropout_add": lambda x, r: D.dropout_add(x, r, 0.3),
        "gelu_dropout": lambda x, _: D.gelu_dropout(x, 0.3),
        "relu_dropout": lambda x, _: D.relu_dropout(x, 0.3),
    }
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        functions[name](*inputs(torch.float32))
    assert SAVED[name] == len(saved)


@pytest.mark.filterwarnings("ignore")  # compiling makes torch's own code warn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_is_eager(dtype) -> None:
    """Compiled with fullgraph, ``dropout_add`` gives the eager bits, forward and backward."""
    torch._dynamo.reset()
    compiled = torch.compile(D.dropout_add, backend="aot_eager", fullgraph=True)
    for name in (None, masks_at(seed=1, rows=range(5))):
        results = []
        for function in (D.dropout_add, compiled):
            x, r = inputs(dtype)
            torch.manual_seed(4)
            if name is None:
                y = function(x, r, 0.3)
            else:
                with name:
                    y = function(x, r, 0.3)
            y.sum().backward()
            results.append((y, x.grad, r.grad))
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_opcheck() -> None:
    """The examination that torch has for operators passes."""
    from dropkit.core.ops import mask_tensor

    x, r = inputs(torch.float32)
    torch.library.opcheck(torch.ops.dropkit.dropout_add, (x, r, mask_tensor(1, 2, 9999), True))


def test_layouts() -> None:
    """Strides of any kind change nothing but themselves."""
    x, r = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = D.dropout_add(x, r, 0.3, address=ADDRESS)
    last = x.to(memory_format=torch.channels_last)
    found = D.dropout_add(last, r, 0.3, address=ADDRESS)
    assert torch.equal(expected, found)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_eval_drops_nothing() -> None:
    """With ``training`` false only the sum is left."""
    x, r = inputs(torch.float32)
    assert torch.equal(x + r, D.dropout_add(x, r, 0.3, training=False))


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        (torch.ones(4), "`residual` must have the shape of `x`, (3,); got (4,)."),
        (
            torch.ones(3, dtype=torch.float64),
            "`residual` must have the dtype of `x`, torch.float32; got torch.float64.",
        ),
    ],
)
def test_refusals(residual, message) -> None:
    """A residual that does not fit is refused in one sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        D.dropout_add(torch.ones(3), residual, 0.3)
