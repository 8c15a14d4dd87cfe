"""The mask of attention: which bits it has, by every way into torch, and what is kept of it."""

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.func import grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

from dropkit import Address, effective_rate, masks_at
from dropkit.core import attention_tiles
from dropkit.functional import dropout
from dropkit.functional import scaled_dot_product_attention as attend

ADDRESS = Address(1, 2**64 - 2)
P = 0.3
NAMES = [None, masks_at(3, step=1), masks_at(3, rows=[7, 3]), masks_at(3, rows=5)]


def kept(query: Tensor, keys: int, p: float = P, **options) -> Tensor:
    """Which probabilities are kept: with the unit matrix as values, these are the output."""
    key = query.new_zeros(*query.shape[:-2], keys, query.shape[-1])
    value = torch.eye(keys, dtype=query.dtype).expand(*query.shape[:-2], keys, keys)
    return attend(query, key, value, None, p, **options) != 0


def under(name, function, *args):
    """`function` from one state of the generator, inside the block if there is one."""
    torch.manual_seed(5)
    if name is None:
        return function(*args)
    with name:
        return function(*args)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (2, 9, 7), (2, 7), (2, 2, 3, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_mask_is_that_of_dropout_on_the_matrix(cut_attention, name, shape, dtype) -> None:
    """Ambient and named, with the rows of examples: as if dropout were called on the whole."""
    expected = under(name, lambda: dropout(torch.ones(shape), P)) != 0
    after = torch.get_rng_state()
    query = torch.zeros(*shape[:-1], 4, dtype=dtype)
    for cut in (1, 1000, 1 << 22, (2, 3), (4, 512)):
        cut_attention(cut)
        assert torch.equal(expected, under(name, kept, query, shape[-1]))
        assert torch.equal(after, torch.get_rng_state())


def test_example_keeps_its_mask_in_another_batch() -> None:
    """Under rows, an example has the same result alone and in any batch."""
    x = torch.randn(4, 3, 9, 8)
    with masks_at(seed=1, rows=[4, 9, 2, 2**40]):
        together = attend(x, x, x, None, P)
    for i, row in enumerate([4, 9, 2, 2**40]):
        with masks_at(seed=1, rows=[row]):
            alone = attend(x[i : i + 1], x[i : i + 1], x[i : i + 1], None, P)
        torch.testing.assert_close(together[i : i + 1], alone)


def test_each_call_draws_anew_and_names_replay() -> None:
    """Two calls differ; the seed of torch, or the name, brings both back."""
    x = torch.randn(2, 3, 9, 8)
    for name in NAMES:
        first, again = (
            under(name, lambda: (attend(x, x, x, None, P), attend(x, x, x, None, P)))
            for _ in range(2)
        )
        assert not torch.equal(*first)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_kept_rate(false_alarm, seed) -> None:
    """The kept share is a binomial draw."""
    keep = kept(torch.zeros(4, 8, 128, 4), 128, 0.1, address=Address.from_seed(seed))
    rate = 1 - effective_rate(0.1)
    p_value = stats.binomtest(int(keep.sum()), keep.numel(), rate).pvalue
    assert p_value > false_alarm, f"p={p_value:.1e}; replay: DK_TEST_SEED={seed}"


def test_kept_rate_check_can_fail(false_alarm, seed) -> None:
    """The check rejects a rate off by three in a thousand."""
    keep = kept(torch.zeros(4, 8, 128, 4), 128, 0.103, address=Address.from_seed(seed))
    rate = 1 - effective_rate(0.1)
    assert stats.binomtest(int(keep.sum()), keep.numel(), rate).pvalue < false_alarm


MASKS = {
    "none": None,
    "bool": torch.tensor([[True, False], [True, True], [False, True]]),
    "float": torch.tensor([[0.5, -1.0], [0.0, 2.0], [-0.5, 0.0]], dtype=torch.float64),
    "float of each head": torch.linspace(-1, 1, 4, dtype=torch.float64).view(4, 1, 1),
    "float of each key": torch.linspace(-1, 1, 4, dtype=torch.float64).view(2, 1, 1, 2),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward AD
@pytest.mark.parametrize(
    ("name", "is_causal"), [*((name, False) for name in MASKS), ("none", True)]
)
@pytest.mark.parametrize("tile_bytes", [1, 1 << 22])
def test_gradcheck(monkeypatch, name, is_causal, tile_bytes) -> None:
    """First and second derivatives and tangents are right, those of a float mask too."""
    monkeypatch.setattr(attention_tiles, "BYTES_A_THREAD", tile_bytes)
    monkeypatch.setattr(attention_tiles, "MIN_QUERIES", 1)
    mask = MASKS[name]
    shapes = ((2, 4, 3, 2), (2, 2, 2, 2), (2, 2, 2, 3))
    draws = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(shape, dtype=torch.float64, generator=draws).requires_grad_()
        for shape in shapes
    ]
    if mask is not None and mask.is_floating_point():
        tensors.append(mask.clone().requires_grad_())

    def function(
        query: Tensor, key: Tensor, value: Tensor, of_mask: Tensor | None = mask
    ) -> Tensor:
        return attend(query, key, value, of_mask, P, is_causal, enable_gqa=True, address=ADDRESS)

    assert torch.autograd.gradcheck(
        function, tensors, check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(function, tensors)


def test_float_mask_has_its_gradient_in_its_dtype() -> None:
    """A float32 mask of bfloat16 tensors gets a float32 gradient of its own shape."""
    x = torch.randn(2, 3, 5, 4).bfloat16()
    mask = torch.zeros(3, 1, 5, requires_grad=True)
    attend(x, x, x, mask, P, address=ADDRESS).sum().backward()
    assert (mask.grad.shape, mask.grad.dtype) == (mask.shape, torch.float32)
    assert bool(mask.grad.any())


def test_what_is_saved() -> None:
    """Inputs, output and one float32 a query: nothing grows with the square of the length."""
    saved: list[Tensor] = []
    x = [torch.randn(1, 2, 300, 8, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        attend(*x, None, P)
    sizes = sorted(tensor.numel() for tensor in saved)
    assert [2 * 300, *[2 * 300 * 8] * 4] == sizes


def test_saved_tensors_check_can_fail() -> None:
    """The check above sees the matrix that torch's own function saves under dropout."""
    saved: list[Tensor] = []
    x = [torch.randn(1, 2, 300, 8, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        torch.nn.functional.scaled_dot_product_attention(*x, dropout_p=P)
    assert max(tensor.numel() for tensor in saved) >= 2 * 300 * 300


@pytest.mark.parametrize("cut", [attention_tiles.BYTES_A_THREAD, (128, 512)])
def test_memory_at_work(cut_attention, cut) -> None:
    """No tensor that is made in forward or backward is larger than a tile, or a thread's blocks."""
    length, threads = 2048, torch.get_num_threads()
    cut_attention(cut)
    x = [torch.randn(1, 2, length, 4, requires_grad=True) for _ in range(3)]
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        attend(*x, None, P).sum().backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    most = cut if isinstance(cut, int) else cut[0] * cut[1] * 4
    assert most <= largest <= 2 * threads * most
    assert largest < 4 * length * length * 2


class Block(nn.Module):
    """Two attentions, one of which shares heads and has a mask that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)
        self.mask = nn.Parameter(torch.linspace(-1, 1, 36).view(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        """``(2, 6, 16)`` in and out."""
        q, k = (y.view(2, 6, 4, 4).transpose(1, 2) for y in (self.inner(x), x))
        y = attend(q, k, k[:, :, :, :3], None, 0.3, is_causal=True).flatten(1).mean(1)
        z = attend(q, k[:, :2], k[:, :2], self.mask, 0.5, enable_gqa=True)
        return z.transpose(1, 2).flatten(2) + attend(x, x, x, None, 0.2) * y[:, None, None]


def trained(model: Block, function, name) -> list[Tensor]:
    """Output, gradients, and where the generator stands after one pass."""
    model.zero_grad()
    x = torch.linspace(-1, 1, 192).reshape(2, 6, 16)
    y = under(name, function, x)
    y.square().sum().backward()
    return [y.detach(), *[p.grad.clone() for p in model.parameters()], torch.rand(1)]


@pytest.mark.filterwarnings("ignore")  # compiling at all makes torch's own code warn
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_is_eager(backend, name) -> None:
    """With fullgraph, ambient and under every kind of name: all agree, the generator too."""
    torch._dynamo.reset()
    model = Block()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    expected, found = trained(model, model, name), trained(model, compiled, name)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore")
def test_compiled_alone_is_eager_bit_for_bit() -> None:
    """The operator runs the very tiles of an eager call."""
    torch._dynamo.reset()
    x = torch.randn(2, 3, 9, 4, requires_grad=True)

    def both(function) -> list[Tensor]:
        torch.manual_seed(4)
        out = function(x, x, x, None, P)
        return [out, *torch.autograd.grad(out.sum(), x)]

    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    assert all(torch.equal(a, b) for a, b in zip(both(attend), both(compiled), strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing(name, use_reentrant) -> None:
    """What activation checkpointing recomputes has its forward's masks."""
    model = Block()

    def recomputed(x: Tensor) -> Tensor:
        return checkpoint(model, x.requires_grad_(), use_reentrant=use_reentrant)

    expected, found = trained(model, model, name), trained(model, recomputed, name)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_transforms_have_the_same_bits() -> None:
    """Gradients, tangents and maps of functions see the mask of a plain call."""
    x = torch.randn(2, 3, 5, 4)

    def function(x: Tensor) -> Tensor:
        return attend(x, x, x, None, P, address=ADDRESS)

    plain = function(x)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(function(leaf).square().sum(), leaf)
    torch.testing.assert_close(grad(lambda x: function(x).square().sum())(x), expected)
    value, tangent = jvp(function, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(value, plain)
    assert tangent.shape == plain.shape
    mapped = vmap(function)(torch.stack([x, 2 * x]))
    torch.testing.assert_close(mapped, torch.stack([function(x), function(2 * x)]))


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(has_mask, dtype) -> None:
    """The examination that torch has for operators passes."""
    query = torch.randn(2, 6, 4, 3).to(dtype).transpose(1, 2).requires_grad_()
    key = torch.randn(2, 2, 5, 3).to(dtype).requires_grad_()
    mask = torch.randn(1, 4, 6, 5, requires_grad=True) if has_mask else None
    numbers = torch.tensor([5, 6, 20000])
    rows = torch.tensor([3, 1]) if has_mask else None
    arguments = (query, key, key, mask, numbers, rows, 0.5, not has_mask)
    torch.library.opcheck(torch.ops.dropkit.attention, arguments)
