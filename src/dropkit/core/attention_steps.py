"""What happens to a tile of scores between two matrix products, in place.

The C core does each step in one pass, row by row, while a row is in the first-level cache. The
twins below do the same by torch operations, for the types and devices the core does not serve.
"""

import torch
from torch import Tensor

from dropkit.core import kernels
from dropkit.core.binding import LOADED
from dropkit.core.place import Place, TileMask


def forward_step(scores: Tensor, logsumexp: Tensor, mask: TileMask) -> None:
    """Make probabilities of scores, and drop.

    Args:
        scores: ``(n, R, C)`` contiguous float32 or float64; becomes the dropped probabilities.
        logsumexp: ``(n, R)`` with contiguous rows, of the same dtype: is written, +inf where a row has no
            score above -inf. All probabilities of such a row are 0.
        mask: Where the rows sit.
    """
    if _is_served(scores):
        LOADED.core.attention_forward(scores, logsumexp, mask)  # type: ignore[union-attr]
        return
    _hide_future(scores, mask)
    top = scores.amax(-1, keepdim=True)
    top.masked_fill_(top == -torch.inf, 0.0)
    total = scores.sub_(top).exp_().sum(-1, keepdim=True)
    is_dead = total == 0
    logsumexp.copy_((top + total.log()).masked_fill_(is_dead, torch.inf).squeeze(-1))
    scores.div_(total.masked_fill_(is_dead, 1.0))
    _drop_(scores, mask)


def backward_step(
    scores: Tensor, grads: Tensor, logsumexp: Tensor, mean: Tensor, mask: TileMask
) -> None:
    """Make dropped probabilities and gradients of scores.

    Args:
        scores: ``(n, R, C)`` contiguous float32 or float64; becomes the dropped probabilities.
        grads: Likewise: gradients of the dropped probabilities; becomes those of the scores.
        logsumexp: ``(n, R)`` with contiguous rows, from `forward_step`.
        mean: ``(n, R)`` contiguous: of each row the sum of output times its gradient.
        mask: Where the rows sit.
    """
    if _is_served(scores):
        LOADED.core.attention_backward(scores, grads, logsumexp, mean, mask)  # type: ignore[union-attr]
        return
    _hide_future(scores, mask)
    scores.sub_(logsumexp.unsqueeze(-1)).exp_()
    _drop_(grads, mask)
    grads.sub_(mean.unsqueeze(-1)).mul_(scores)
    _drop_(scores, mask)


def _is_served(scores: Tensor) -> bool:
    core = LOADED.core
    return core is not None and scores.is_cpu and scores.dtype == torch.float32


def _hide_future(scores: Tensor, mask: TileMask) -> None:
    if mask.is_causal:
        rows, columns = scores.shape[1:]
        sees = torch.ones(rows, columns, dtype=torch.bool, device=scores.device)
        scores.masked_fill_(sees.tril_(mask.first_query).logical_not_(), -torch.inf)


def _drop_(x: Tensor, mask: TileMask) -> None:
    """Drop in place; a row of the tile is a row of the place."""
    n_rows = x.shape[1]
    first = mask.heads * mask.n_queries + mask.first_query
    ids = (first.unsqueeze(1) + torch.arange(n_rows, device="cpu")).reshape(-1)
    place = Place(len(ids), mask.n_keys, row_ids=ids)
    kernels.dropout_(x, mask.key, mask.stream, mask.threshold, place=place)
