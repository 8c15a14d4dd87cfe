"""Attention with dropout: what it computes, whatever its tiles, and what it refuses."""

import re

import pytest
import torch
import torch.nn.functional as torchs
from torch import Tensor

from dropkit import Address
from dropkit.errors import OptionError, RateError
from dropkit.functional import scaled_dot_product_attention as attend

ADDRESS = Address(1, 2**64 - 2)
P = 0.3

#: query, key, value and attention mask; is_causal, enable_gqa
CASES = {
    "plain": ((2, 3, 9, 4), (2, 3, 9, 4), (2, 3, 9, 4), None, False, False),
    "more keys": ((2, 3, 5, 4), (2, 3, 33, 4), (2, 3, 33, 4), None, False, False),
    "other width of values": ((2, 3, 9, 4), (2, 3, 7, 4), (2, 3, 7, 6), None, False, False),
    "causal": ((2, 3, 9, 4), (2, 3, 9, 4), (2, 3, 9, 4), None, True, False),
    "causal, more keys": ((2, 1, 5, 4), (2, 1, 33, 4), (2, 1, 33, 4), None, True, False),
    "causal, more queries": ((1, 2, 33, 4), (1, 2, 5, 4), (1, 2, 5, 4), None, True, False),
    "shared heads": ((2, 6, 9, 4), (2, 2, 7, 4), (2, 2, 7, 5), None, False, True),
    "shared heads, causal": ((2, 4, 9, 4), (2, 1, 9, 4), (2, 1, 9, 4), None, True, True),
    "bool mask of all": ((2, 3, 9, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 9, 7), False, False),
    "bool mask of keys": ((2, 3, 9, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 1, 1, 7), False, False),
    "bool mask of matrix": ((2, 3, 9, 4), (2, 3, 7, 4), (2, 3, 7, 4), (9, 7), False, False),
    "no heads": ((3, 9, 4), (3, 7, 4), (3, 7, 4), None, True, False),
    "no batch": ((9, 4), (7, 4), (7, 5), (7,), False, False),
    "two batches": ((2, 3, 2, 9, 4), (2, 3, 2, 7, 4), (2, 3, 2, 7, 4), (3, 1, 9, 1), False, False),
}
#: Bytes of a tile, or queries and keys of a block where attention is done whole.
CUTS = [1, 300, 2000, 1 << 22, (1, 1), (2, 3), (4, 32), (256, 512)]


def _case(name: str, dtype: torch.dtype) -> tuple[list[Tensor], Tensor | None, bool, bool]:
    *shapes, mask_shape, is_causal, enable_gqa = CASES[name]
    draws = torch.Generator().manual_seed(4)
    tensors = [torch.randn(shape, generator=draws).to(dtype) for shape in shapes]
    mask = None if mask_shape is None else torch.rand(mask_shape, generator=draws) > 0.3
    return [x.requires_grad_() for x in tensors], mask, is_causal, enable_gqa


def _worst(found: list[Tensor], exact: list[Tensor]) -> float:
    with torch.no_grad():
        return max(float((a - b).abs().max()) for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", list(CASES))
def test_is_the_plain_composition(plain_attention, cut_attention, name, cut) -> None:
    """Output and gradients are those of softmax, the slow twin's mask and two products."""
    cut_attention(cut)
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 3e-6)):
        tensors, mask, is_causal, enable_gqa = _case(name, dtype)
        wide = [x.detach().double().requires_grad_() for x in tensors]
        found = attend(*tensors, mask, P, is_causal, enable_gqa=enable_gqa, address=ADDRESS)
        exact = plain_attention(*wide, P, ADDRESS, attn_mask=mask, is_causal=is_causal)
        grad = torch.linspace(-1, 1, found.numel()).view(found.shape).to(dtype)
        of_found = torch.autograd.grad(found, tensors, grad)
        of_exact = torch.autograd.grad(exact, wide, grad.double())
        assert (found.shape, found.dtype) == (exact.shape, dtype)
        assert _worst([found, *of_found], [exact, *of_exact]) < tolerance


@pytest.mark.parametrize(
    "layout", ["heads first", "heads last", "expanded", "one query for all", "width first"]
)
def test_strides(plain_attention, cut_attention, layout) -> None:
    """Any strides give the same, in blocks and whether examples are merged in a tile or not."""
    base = torch.randn(2, 3, 8, 4)
    x = {
        "heads first": base,
        "heads last": base.transpose(1, 2).contiguous().transpose(1, 2),
        "expanded": base[:, :1].expand(2, 3, 8, 4),
        "one query for all": base[:, :, :1].expand(2, 3, 8, 4),
        "width first": base.transpose(2, 3).contiguous().transpose(2, 3),
    }[layout]
    for cut in (1, 1 << 22, (3, 5)):
        cut_attention(cut)
        leaf = x.detach().requires_grad_()
        found = attend(leaf, leaf, leaf, None, P, address=ADDRESS)
        grad = torch.ones(()).expand(found.shape)
        of_found = torch.autograd.grad(found, leaf, grad)
        wide = x.double().detach().requires_grad_()
        exact = plain_attention(wide, wide, wide, P, ADDRESS)
        of_exact = torch.autograd.grad(exact, wide, grad.double())
        assert _worst([found, *of_found], [exact, *of_exact]) < 3e-6
        if layout == "heads last":
            assert found.stride() == x.stride()  # as torch's own: the heads join without a copy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_error_is_at_most_twice_torchs_own(plain_attention, dtype) -> None:
    """Against float64 no result is worse than twice what plain torch makes of it."""
    for seed in range(3):
        torch.manual_seed(seed)
        tensors = [torch.randn(2, 4, 64, 32).to(dtype).requires_grad_() for _ in range(3)]
        wide = [x.detach().double().requires_grad_() for x in tensors]
        grad = torch.randn(2, 4, 64, 32).to(dtype)
        results = {
            "ours": (attend(*tensors, None, P, address=ADDRESS), tensors),
            "torch": (plain_attention(*tensors, P, ADDRESS).to(dtype), tensors),
            "exact": (plain_attention(*wide, P, ADDRESS), wide),
        }
        all_of = {
            who: [out, *torch.autograd.grad(out, leaves, grad.to(out.dtype))]
            for who, (out, leaves) in results.items()
        }
        for ours, own, exact in zip(*all_of.values(), strict=True):
            assert _worst([ours], [exact]) <= 2 * _worst([own], [exact])


def test_rate_zero_is_torchs_own() -> None:
    """Without dropout torch's function gives the result, bit for bit, and the errors."""
    x = torch.randn(2, 3, 9, 4)
    mask = torch.rand(9, 9) > 0.5
    assert torch.equal(torchs.scaled_dot_product_attention(x, x, x, mask), attend(x, x, x, mask))
    expected = torchs.scaled_dot_product_attention(x, x, x, scale=0.1, is_causal=True)
    assert torch.equal(expected, attend(x, x, x, is_causal=True, scale=0.1, dropout_p=0))
    with pytest.raises(RuntimeError, match="Expected query, key, and value to have the same dtype"):
        attend(x, x.double(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rate_one_gives_zeros(dtype) -> None:
    """Where everything is dropped, output and gradients are 0 and no address is drawn."""
    x = torch.randn(2, 3, 9, 4).to(dtype).requires_grad_()
    before = torch.get_rng_state()
    out = attend(x, x, x, dropout_p=1.0)
    out.sum().backward()
    assert torch.equal(torch.zeros_like(x), out)
    assert torch.equal(torch.zeros_like(x), x.grad)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_query_that_sees_nothing(dtype) -> None:
    """It gives 0 and has no gradient, as in torch's own."""
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    for attn_mask in (mask, torch.zeros(5, 7, dtype=dtype).masked_fill(~mask, -torch.inf)):
        query = torch.randn(2, 3, 5, 4, dtype=dtype, requires_grad=True)
        key = torch.randn(2, 3, 7, 4, dtype=dtype)
        for p in (0.0, P):
            out = attend(query, key, key, attn_mask, p)
            (grad,) = torch.autograd.grad(out.sum(), query)
            assert {0.0} == set(out[:, :, 2].flatten().tolist())
            assert {0.0} == set(grad[:, :, 2].flatten().tolist())
            assert not out.isnan().any()


@pytest.mark.parametrize("sizes", [(0, 3, 5, 7), (2, 0, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)])
def test_empty(sizes) -> None:
    """Nothing in gives nothing out; queries without any key give 0."""
    batch, heads, queries, keys = sizes
    query = torch.randn(batch, heads, queries, 4, requires_grad=True)
    key = torch.randn(batch, heads, keys, 4, requires_grad=True)
    out = attend(query, key, key, dropout_p=P)
    out.sum().backward()
    assert torch.equal(torch.zeros(batch, heads, queries, 4), out)
    assert torch.equal(torch.zeros_like(query), query.grad)
    assert torch.equal(torch.zeros_like(key), key.grad)


def test_inf_and_nan_stay_in_their_query() -> None:
    """A score that is no number spoils its own query alone."""
    x = torch.randn(1, 1, 9, 4)
    for bad in (torch.nan, torch.inf):
        query = x.clone()
        query[0, 0, 4] = bad
        out = attend(query, x, x, dropout_p=P)
        assert out[0, 0, 4].isnan().all()
        assert not out[0, 0, :4].isnan().any()
        assert not out[0, 0, 5:].isnan().any()


def test_autocast() -> None:
    """Under autocasting it computes in the half type, as torch's own does."""
    x = torch.randn(2, 3, 9, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend(x, x, x, dropout_p=P, address=ADDRESS)
        assert torchs.scaled_dot_product_attention(x, x, x).dtype == found.dtype
        (grad,) = torch.autograd.grad(found.float().sum(), x)
    half = x.bfloat16()
    assert torch.equal(attend(half, half, half, dropout_p=P, address=ADDRESS), found)
    assert torch.float32 == grad.dtype


X = torch.randn(2, 3, 5, 4)
MISUSES = {
    "dimensions": (X[0, 0, 0], X[0, 0, 0], X[0, 0, 0], {}),
    "dtypes": (X, X.double(), X, {}),
    "whole numbers": (X.int(), X.int(), X.int(), {}),
    "widths": (X, torch.randn(2, 3, 5, 3), X, {}),
    "lengths": (X, X, torch.randn(2, 3, 6, 4), {}),
    "batches": (X, torch.randn(3, 3, 5, 4), X, {}),
    "heads": (X, X[:, :2], X[:, :2], {}),
    "shared heads": (X, X[:, :2], X[:, :2], {"enable_gqa": True}),
    "mask's dtype": (X, X, X, {"attn_mask": torch.ones(5, 5, dtype=torch.int32)}),
    "mask's shape": (X, X, X, {"attn_mask": torch.ones(4, 5, dtype=torch.bool)}),
    "mask with more": (X[0], X[0], X[0], {"attn_mask": torch.ones(2, 3, 5, 5, dtype=torch.bool)}),
    "two masks": (X, X, X, {"attn_mask": torch.ones(5, 5, dtype=torch.bool), "is_causal": True}),
}


@pytest.mark.parametrize("name", list(MISUSES))
def test_refuses_what_torch_refuses(name) -> None:
    """With the very words of torch's own function under dropout."""
    *tensors, options = MISUSES[name]
    with pytest.raises(RuntimeError) as torchs_error:
        torchs.scaled_dot_product_attention(*tensors, dropout_p=0.5, **options)
    with pytest.raises(RuntimeError, match="^" + re.escape(str(torchs_error.value)) + "$"):
        attend(*tensors, dropout_p=0.5, **options)


def test_refuses_bad_rates() -> None:
    """The error names the parameter by its name here."""
    message = "`dropout_p` must be a drop rate in [0, 1]; got 10.0. Did you mean 0.1?"
    with pytest.raises(RateError, match="^" + re.escape(message) + "$"):
        attend(X, X, X, dropout_p=10.0)


def test_refuses_complex_numbers() -> None:
    """What torch computes and this does not is refused with a next step."""
    x = X.to(torch.complex64)
    message = (
        "`query`, `key`, `value` and `attn_mask` must be dense and of a real type; got complex64 "
        "strided, complex64 strided, complex64 strided. Use torch's own function for these."
    )
    with pytest.raises((OptionError, RuntimeError)) as error:
        attend(x, x, x, dropout_p=0.5)
    if isinstance(error.value, OptionError):
        assert message == str(error.value)
