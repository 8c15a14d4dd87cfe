"""A linear map of what dropout leaves: the plain form's numbers, and nothing kept but its input."""

import re

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit import Address, masks_at
from dropkit.core import linear
from dropkit.errors import DtypeError, ShapeError
from dropkit.functional import dropout, dropout_linear

ADDRESS = Address(3, 4)
IN, OUT = 24, 5


def fused(x: Tensor, w: Tensor, b: Tensor | None, p: float) -> Tensor:
    """Ours."""
    return dropout_linear(x, w, b, p, address=ADDRESS)


def plain(x: Tensor, w: Tensor, b: Tensor | None, p: float) -> Tensor:
    """Its twin of two steps."""
    return F.linear(dropout(x, p, address=ADDRESS), w, b)


def inputs(dtype: torch.dtype = torch.float32, *lead: int) -> list[Tensor]:
    """Input, weight and bias, all waiting for gradients."""
    made = torch.Generator().manual_seed(1)
    shapes = ((*(lead or (2, 7)), IN), (OUT, IN), (OUT,))
    return [
        torch.randn(shape, generator=made, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in shapes
    ]


def results(function, tensors: list[Tensor], p: float) -> list[Tensor | None]:
    """The output, and the gradient of each input that waits for one."""
    y = function(*tensors, p)
    waiting = [x for x in tensors if x is not None and x.requires_grad]
    return [y.detach(), *torch.autograd.grad(y.square().sum(), waiting)]


@pytest.fixture
def small_pieces(monkeypatch) -> None:
    """Three rows are dropped at once."""
    monkeypatch.setattr(linear, "PIECE", 3 * IN)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_piece_is_the_plain_form(p, dtype) -> None:
    """Output and gradients have the bits of dropout and linear, one behind the other."""
    for ours, theirs in zip(
        results(fused, inputs(dtype), p), results(plain, inputs(dtype), p), strict=True
    ):
        assert torch.equal(theirs, ours)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("lead", [(2, 7), (14,), (1, 2, 7)])
def test_pieces_join(lead) -> None:
    """In pieces, masks are those of the whole, and sums right to rounding."""
    pairs = [results(one, inputs(torch.float64, *lead), 0.3) for one in (fused, plain)]
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("rows", [(1 << 64) - 1, [5, 3]])
def test_pieces_of_named_rows(rows) -> None:
    """An example's mask is that of its row, also where examples share and outgrow a piece."""
    x, w, _ = inputs(torch.float64, 4, 7)
    with masks_at(seed=2, rows=rows):
        ours = dropout_linear(x, w, p=0.3)
    with masks_at(seed=2, rows=rows):
        theirs = F.linear(dropout(x, 0.3), w)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(y.square().sum(), (x, w)) for y in (ours, theirs)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("waits", [(True, False), (False, True)])
def test_only_what_is_asked_for(waits) -> None:
    """Where one of input and weight waits for no gradient, what only its gradient needs is not kept."""
    x, w, b = inputs()
    x.requires_grad_(waits[0])
    w.requires_grad_(waits[1])
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = fused(x, w, b, 0.3)
    assert [(w if waits[0] else x).data_ptr()] == [t.data_ptr() for t in saved]
    (ours,) = torch.autograd.grad(y.sum(), w if waits[1] else x)
    (theirs,) = torch.autograd.grad(plain(x, w, b, 0.3).sum(), w if waits[1] else x)
    assert torch.equal(theirs, ours)


def test_nothing_is_kept_but_input_and_weight() -> None:
    """However many maps read one input, autograd keeps it once, and no mask."""
    x, w, _ = inputs()
    saved: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        kept = [dropout_linear(x, w, p=0.3) for _ in range(3)]
    assert (x.numel() + w.numel()) * 4 == sum(saved.values())
    assert 3 == len(kept)


@pytest.mark.usefixtures("small_pieces")
def test_derivatives() -> None:
    """First and second derivatives are right in float64."""
    tensors = inputs(torch.float64)
    assert torch.autograd.gradcheck(lambda *a: fused(*a, 0.3), tensors)
    assert torch.autograd.gradgradcheck(lambda *a: fused(*a, 0.3), tensors)


def test_batched_gradients() -> None:
    """Gradients that torch batches, of either kind, are those of one after the other."""
    x, w, _ = inputs(torch.float64)
    y = fused(x, w, None, 0.3)
    grads = torch.randn(3, *y.shape, dtype=torch.float64)
    batched = torch.autograd.grad(y, (x, w), grads, is_grads_batched=True, retain_graph=True)
    single = [torch.autograd.grad(y, (x, w), grad, retain_graph=True) for grad in grads]
    for ours, theirs in zip(batched, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs))


@pytest.mark.filterwarnings("ignore")  # forward mode makes torch's own code warn
def test_transforms_see_the_plain_form() -> None:
    """``torch.func`` goes through: gradients of each example, and forward-mode ones."""
    x, w, b = (t.detach() for t in inputs(torch.float64))

    def loss(w: Tensor, x: Tensor) -> Tensor:
        return fused(x, w, b, 0.3).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0), randomness="same")(w, x)
    for found, one in zip(each, x, strict=True):
        torch.testing.assert_close(found, torch.func.grad(loss)(w, one))
    _, tangent = torch.func.jvp(lambda w: fused(x, w, b, 0.3), (w,), (w,))
    torch.testing.assert_close(tangent, plain(x, w, None, 0.3))


@pytest.mark.parametrize("pieces", [False, True])
def test_autocast(pieces, monkeypatch) -> None:
    """Under autocast types are those of the plain form, and errors at most twice as great."""
    if pieces:
        monkeypatch.setattr(linear, "PIECE", 3 * IN)
    found = []
    for function, is_cast in ((fused, True), (plain, True), (plain, False)):
        x, w, b = inputs()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_cast):
            y = function(x, w, b, 0.3)
        y.backward(torch.ones_like(y))
        found.append([y, x.grad, w.grad, b.grad])
    for ours, theirs, truth in zip(*found, strict=True):
        assert theirs.dtype == ours.dtype
        assert (ours - truth).norm() <= 2 * (theirs - truth).norm()


@pytest.mark.filterwarnings("ignore")  # compiling makes torch's own code warn
def test_compiled_is_eager() -> None:
    """Compiled with fullgraph it gives the eager bits, forward and backward."""
    torch._dynamo.reset()
    compiled = torch.compile(fused, backend="aot_eager", fullgraph=True)
    for ours, theirs in zip(
        results(compiled, inputs(), 0.3), results(fused, inputs(), 0.3), strict=True
    ):
        assert torch.equal(theirs, ours)


def test_strides_and_emptiness() -> None:
    """Input of any strides, and none at all, is taken as the plain form takes it."""
    x, w, b = inputs(torch.float32, 7, 2)
    turned = x.transpose(0, 1)
    assert torch.equal(plain(turned, w, b, 0.3), fused(turned, w, b, 0.3))
    assert (0, OUT) == tuple(fused(torch.ones(0, IN), w, b, 0.3).shape)
    assert torch.equal(plain(x[0, 0], w, b, 0.3), fused(x[0, 0], w, b, 0.3))
    assert torch.equal(F.linear(x, w, b), dropout_linear(x, w, b, 0.3, training=False))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            torch.ones(2, 3),
            ShapeError,
            "`weight` must be (out, in) for an `x` of (*, in); got (5, 24) for (2, 3).",
        ),
        (
            torch.ones(2, IN, dtype=torch.int64),
            DtypeError,
            "`x` must be a tensor of float32, float64, bfloat16, float16; got int64. Convert it "
            "first, e.g. x.float().",
        ),
    ],
)
def test_refusals(x, error, message) -> None:
    """What does not fit is refused in one sentence."""
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        dropout_linear(x, torch.ones(OUT, IN), p=0.3)
