"""Function transforms: vmap with its three kinds of randomness, grad, jvp and their mixtures."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacfwd, jacrev, jvp, vmap

from dropkit import Address, masks_at
from dropkit.functional import dropout

# torch's own forward AD warns of torch's own scripting.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

ADDRESS = Address(1, 2)
X = torch.linspace(1, 2, 4 * 32).reshape(4, 32)


def half(x: Tensor) -> Tensor:
    """Drop half of `x`, always the same half."""
    return dropout(x, 0.5, address=ADDRESS)


def any_half(x: Tensor) -> Tensor:
    """Drop half of `x`."""
    return dropout(x, 0.5)


def test_vmap_with_same_masks() -> None:
    """All examples have one mask, the one that an example alone draws."""
    kept = vmap(any_half, randomness="same")(X) != 0
    assert bool((kept == kept[0]).all())
    assert 4 < int(kept[0].sum()) < 28


def test_vmap_with_different_masks() -> None:
    """Each example has a mask of its own, and so does its gradient."""
    kept = vmap(any_half, randomness="different")(X) != 0
    assert len({tuple(row) for row in kept.tolist()}) == 4
    gradients = vmap(grad(lambda x: any_half(x).square().sum()), randomness="different")(X)
    assert len({tuple(row) for row in (gradients != 0).tolist()}) == 4


def test_vmap_without_randomness() -> None:
    """Drawing where vmap allows no randomness is torch's own error."""
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(any_half)(X)


def test_vmap_of_a_named_mask_needs_no_randomness() -> None:
    """An address is no randomness: each example has the mask that it has alone."""
    assert torch.equal(vmap(half)(X), torch.stack([half(x) for x in X]))
    assert torch.equal(vmap(half, in_dims=1)(X), torch.stack([half(x) for x in X.T]))
    with masks_at(seed=1):
        mapped = vmap(any_half)(X)
    with masks_at(seed=1):
        alone = any_half(X[2])
    assert torch.equal(mapped[2], alone)


def test_vmap_with_rows() -> None:
    """Rows name what the first dimension holds of each example."""
    with masks_at(seed=1, rows=[7, 3]):
        mapped = vmap(any_half)(X.reshape(4, 2, 16))
    with masks_at(seed=1, rows=[7, 3]):
        alone = any_half(X.reshape(4, 2, 16)[1])
    assert torch.equal(mapped[1], alone)


def test_grad_and_jvp_draw_what_a_plain_call_draws() -> None:
    """Under a transform the generator gives the same mask, and tangents go through it too."""
    torch.manual_seed(3)
    plain = any_half(X)
    torch.manual_seed(3)
    assert torch.equal(plain, grad(lambda x: any_half(x).square().sum() / 4)(X))
    torch.manual_seed(3)
    value, tangent = jvp(any_half, (X,), (X,))
    assert torch.equal(plain, value)
    assert torch.equal(plain, tangent)


def test_jacobians_agree() -> None:
    """Reverse and forward mode give the diagonal of mask times scale."""
    expected = torch.diag(half(torch.ones(32)))
    assert torch.equal(expected, jacrev(half)(X[0]))
    assert torch.equal(expected, jacfwd(half)(X[0]))


def test_dual_numbers() -> None:
    """Forward-mode differentiation outside of transforms."""
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(X, torch.ones_like(X))
        _, tangent = torch.autograd.forward_ad.unpack_dual(half(dual))
    assert torch.equal(half(torch.ones_like(X)), tangent)
