"""Tokens left out of a sequence."""

import torch
from torch import Tensor, nn

from dropkit.core import redrawn, samples
from dropkit.core.address import Address
from dropkit.core.rate import threshold_from_rate
from dropkit.core.words import drawn_words
from dropkit.errors import ShapeError


def patch_dropout(
    x: Tensor,
    prob: float = 0.5,
    num_prefix_tokens: int = 1,
    ordered: bool = False,
    training: bool = True,
    *,
    address: Address | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Keep a random part of the tokens of each example, so that the sequence gets shorter.

    Each example keeps ``max(1, int(L * (1 - prob)))`` of its L tokens behind the prefix, other
    ones than the next; all choices are equally likely. Nothing is scaled.

    Args:
        x: ``(N, num_prefix_tokens + L, *)`` of any type.
        prob: Drop rate in [0, 1]; a share, not a percentage.
        num_prefix_tokens: Tokens at the beginning that are always kept: a class token, say.
        ordered: Whether the kept tokens stay in order; else they are shuffled.
        training: False returns `x` itself.
        address: Names the choice; see `dropkit.functional.dropout`.

    Returns:
        The shorter sequence, and ``(N, kept)`` int64, which tokens behind the prefix it holds:
        None where nothing was dropped.

    Raises:
        RateError: `prob` is outside [0, 1] or nan.
        ShapeError: `x` has fewer than two dimensions.

    Source:
        Liu et al. 2023, WACV, arXiv:2208.07220; Li et al. 2023, CVPR, arXiv:2212.00794. Arguments
        are those of timm.

    >>> x = torch.arange(10.0).reshape(1, 5, 2)
    >>> y, kept = patch_dropout(x, 0.5, ordered=True, address=Address.from_seed(1))
    >>> kept, y[0, :, 0]
    (tensor([[2, 3]]), tensor([0., 6., 8.]))
    """
    threshold_from_rate(prob, name="prob")
    return apply_patch_dropout(x, prob, num_prefix_tokens, ordered, training, address=address)


def apply_patch_dropout(
    x: Tensor,
    prob: float,
    num_prefix_tokens: int,
    ordered: bool,
    training: bool,
    *,
    address: Address | None = None,
    site: nn.Module | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`patch_dropout`, called at `site`."""
    if not training or prob == 0:
        return x, None
    if x.dim() < 2:
        raise ShapeError(
            f"`x` must have a dimension of examples and one of tokens; got shape {tuple(x.shape)}."
        )
    if (many := samples.opened()) is not None:
        parts = iter(x.chunk(many.n))

        def of_part(_: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
            return apply_patch_dropout(
                next(parts), prob, num_prefix_tokens, ordered, True, address=address, site=site
            )

        found, _ = many.results(x.shape[:2], of_part)
        kept_ones = [kept for _, kept in found if kept is not None]
        return torch.cat([shorter for shorter, _ in found]), torch.cat(kept_ones)
    prefix, x = x[:, :num_prefix_tokens], x[:, num_prefix_tokens:]
    n, length = x.shape[:2]
    mask, rows = redrawn.drawn((n, length), 1, address, site)  # the words know no threshold
    order = drawn_words(mask, (n, length), x, rows).argsort(dim=1, stable=True)
    kept = order[:, : max(1, int(length * (1 - prob)))]
    if ordered:
        kept = kept.sort(dim=1).values
    index = kept.reshape(*kept.shape, *[1] * (x.dim() - 2)).expand(*kept.shape, *x.shape[2:])
    return torch.cat((prefix, x.gather(1, index)), dim=1), kept
