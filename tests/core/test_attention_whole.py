"""Attention whole, in the C core: which calls it takes, and the same bits however it is shared."""

import pytest
import torch
from torch import Tensor

from dropkit import Address
from dropkit.core import attention, attention_whole
from dropkit.core.attention_work import Inputs, Options
from dropkit.core.binding import LOADED
from dropkit.functional import scaled_dot_product_attention as attend

pytestmark = pytest.mark.skipif(LOADED.core is None, reason="there is no C core")
OPTIONS = Options(5, 2**64 - 9, 20000, 0.3, is_causal=False)


def inputs(*, mask: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Inputs:
    """Six heads on two key heads, with lengths that no block divides."""
    draws = torch.Generator().manual_seed(3)
    shapes = ((2, 6, 150, 20), (2, 2, 530, 20), (2, 2, 530, 17))
    query, key, value = (torch.randn(shape, generator=draws).to(dtype) for shape in shapes)
    return Inputs(query, key, value, mask, torch.arange(12).flip(0) * 2**58)


def results(of: Inputs, options: Options = OPTIONS) -> list[Tensor]:
    """Output, sums and gradients."""
    out, logsumexp = attention.forward(of, options)
    grad = torch.linspace(-1, 1, out.numel()).view(out.shape)
    *gradients, _ = attention.backward(of, options, (out, logsumexp), grad)
    return [out, logsumexp, *gradients]


def test_what_it_serves() -> None:
    """Float32 and halves of the CPU with torch's own threads and products; the rest goes tile by tile."""
    assert LOADED.core.torchs_sgemm is not None
    assert attention_whole.serves(inputs())
    for mask in (torch.ones(1, 1, 1, 530), torch.ones(2, 6, 150, 530, dtype=torch.bool)):
        assert attention_whole.serves(inputs(mask=mask))
    assert not attention_whole.serves(inputs(dtype=torch.float64))
    assert attention_whole.serves(inputs(dtype=torch.bfloat16))
    assert not attention_whole.serves(inputs(mask=torch.ones(1, 1, 1, 530).double()))
    empty = inputs()._replace(query=torch.empty(2, 6, 0, 20))
    assert not attention_whole.serves(empty)


def test_library_without_products(monkeypatch) -> None:
    """Where torch's library shows no product or no team, the tiles serve."""
    expected = results(inputs())
    for name in ("torchs_sgemm", "torchs_team"):
        with monkeypatch.context() as patch:
            patch.setattr(LOADED.core, name, None)
            assert not attention_whole.serves(inputs())
            for a, b in zip(expected, results(inputs()), strict=True):
                torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("is_causal", [False, True])
def test_threads_agree(monkeypatch, is_causal) -> None:
    """However many there are, and also where the team is lost, the bits are the same."""
    monkeypatch.setattr(attention_whole, "keeps_threads_at_work", lambda _: True)
    options, found = OPTIONS._replace(is_causal=is_causal), []
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        found.append(results(inputs(), options))
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_instruction_sets_agree(bits, isa) -> None:
    """Each gives the bits of the portable kernel."""
    core, before, found = LOADED.core, LOADED.core.isa, {}
    try:
        for name in (isa, "portable"):
            core.force(name)
            found[name] = [bits(x) for x in results(inputs())]
    finally:
        core.force(before)
    assert found["portable"] == found[isa]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_rounded_once(dtype) -> None:
    """They are computed in float32, with a mask of theirs too, and what comes back is theirs."""
    mask = torch.linspace(-1, 1, 530).to(dtype).view(1, 1, 1, 530)
    halves = inputs(mask=mask, dtype=dtype)
    wide = Inputs(*(x.float() for x in halves[:4]), halves.heads)
    out, logsumexp, *gradients = results(halves)
    exact, *_ = results(wide)
    assert torch.equal(exact.to(dtype), out)
    assert {dtype} == {x.dtype for x in (out, *gradients)}
    assert torch.float32 == logsumexp.dtype


@pytest.mark.parametrize("kind", ["none", "shown", "added", "causal"])
def test_is_what_the_tiles_make(monkeypatch, kind) -> None:
    """To some roundings, with more than one block of queries and of keys."""
    draws = torch.Generator().manual_seed(8)
    mask = {
        "shown": torch.rand(2, 1, 150, 530, generator=draws) > 0.5,
        "added": torch.randn(1, 6, 1, 530, generator=draws),
    }.get(kind)
    if mask is not None and kind == "shown":
        mask[0, 0, 7] = False
    of, options = inputs(mask=mask), OPTIONS._replace(is_causal=kind == "causal")
    found = results(of, options)
    monkeypatch.setattr(attention_whole, "serves", lambda _: False)
    for a, b in zip(found, results(of, options), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=3e-6)


def test_score_that_grows_from_block_to_block(monkeypatch) -> None:
    """What was summed under a smaller score is scaled down, and the last key wins."""
    monkeypatch.setattr(attention_whole, "MOST_KEYS", 16)
    key = torch.linspace(0, 20000, 64).view(1, 1, 64, 1)
    value = torch.arange(64.0).view(1, 1, 64, 1)
    out, sums = attention.forward(
        Inputs(torch.ones(1, 1, 1, 1), key, value, None, None), OPTIONS._replace(threshold=0)
    )
    assert (63.0, 6000.0) == (out.item(), sums.item())


def test_gradient_is_laid_out_as_its_tensor() -> None:
    """Heads that lie within rows, as models have them, get gradients that join without a copy."""
    x = torch.randn(2, 64, 4, 8).transpose(1, 2).requires_grad_()
    (grad,) = torch.autograd.grad(attend(x, x.detach(), x.detach(), None, 0.1).sum(), x)
    assert x.stride() == grad.stride()


@pytest.mark.usefixtures("two_threads")
def test_one_head_for_many_threads() -> None:
    """Backward of fewer heads than threads shares the products, and gives the same."""
    torch.manual_seed(0)
    tensors = [torch.randn(1, 1, 300, 8, requires_grad=True) for _ in range(3)]
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        out = attend(*tensors, None, 0.1, address=Address(1, 2))
        found.append(torch.autograd.grad(out.square().sum(), tensors))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
