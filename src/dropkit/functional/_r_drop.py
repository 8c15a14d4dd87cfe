"""The loss of two sub-networks that should agree."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit.errors import OptionError

Reduction = Literal["none", "mean", "sum"]


def r_drop_loss(
    logits_1: Tensor,
    logits_2: Tensor,
    targets: Tensor,
    alpha: float = 1.0,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> Tensor:
    """R-Drop: the cross entropy of both, and how far they are from agreeing.

    ``CE(logits_1) + CE(logits_2) + alpha * (KL(P1 || P2) + KL(P2 || P1)) / 2``, where ``P1`` and
    ``P2`` are the softmax of the logits: of the same examples, under two masks. The mean of both
    cross entropies, which some implementations take instead of their sum, is this loss at
    ``2 * alpha``, halved.

    Args:
        logits_1: ``(N, C)``, ``(N, C, d1, ...)`` or ``(C,)`` with C classes, as
            ``torch.nn.functional.cross_entropy`` takes them. Halves are computed in float32.
        logits_2: Like `logits_1`.
        targets: Classes ``(N,)``, ``(N, d1, ...)`` or ``()`` int64; or probabilities, shaped and
            typed like the logits.
        alpha: Weight of the disagreement, at least 0; 1 to 5 in the paper.
        reduction: ``"mean"`` over targets that are not ignored, ``"sum"``, or ``"none"``.
        ignore_index: Class whose positions count for nothing, in either part.

    Returns:
        ``()``, or with ``"none"`` the shape of the positions, with 0 where they are ignored;
        float32 for halves.

    Raises:
        OptionError: The logits have different shapes, `alpha` is negative or nan, or `reduction`
            is none of the three.

    Source:
        Liang et al. 2021, NeurIPS, arXiv:2106.14448, equation 4.

    >>> x, targets, layer = torch.ones(4, 8), torch.tensor([0, 2, 1, 0]), nn.Linear(8, 3)
    >>> logits = [layer(dropkit.functional.dropout(x, 0.1)) for _ in range(2)]
    >>> r_drop_loss(*logits, targets, alpha=2.0).backward()
    """
    _check(logits_1, logits_2, alpha, reduction)
    if logits_1.itemsize < 4:
        logits_1, logits_2 = logits_1.float(), logits_2.float()
        targets = targets.float() if targets.is_floating_point() else targets
    class_dim = min(1, logits_1.dim() - 1)
    log_1, log_2 = (F.log_softmax(logits, class_dim) for logits in (logits_1, logits_2))
    # What both rule out, with logits of -inf, is no disagreement.
    agreed = (log_1 == -torch.inf) & (log_2 == -torch.inf)
    ratio = (log_1 - log_2).masked_fill(agreed, 0.0)
    each = 0.5 * alpha * ((log_1.exp() - log_2.exp()) * ratio).sum(class_dim)
    for log in (log_1, log_2):  # the log softmax of a log softmax is itself
        each = each + F.cross_entropy(log, targets, reduction="none", ignore_index=ignore_index)
    has_classes = not targets.is_floating_point()
    counted = targets != ignore_index if has_classes else torch.ones_like(each, dtype=torch.bool)
    each = each.masked_fill(~counted, 0.0)
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.sum() / counted.sum()


def _check(logits_1: Tensor, logits_2: Tensor, alpha: float, reduction: str) -> None:
    if logits_1.shape != logits_2.shape:
        raise OptionError(
            "`logits_2` must have the shape of `logits_1`, "
            f"{tuple(logits_1.shape)}; got {tuple(logits_2.shape)}."
        )
    if not alpha >= 0:  # nan fails this too
        raise OptionError(f"`alpha` must be at least 0; got {alpha!r}.")
    if reduction not in get_args(Reduction):
        known = ", ".join(map(repr, get_args(Reduction)))
        raise OptionError(f"`reduction` must be one of {known}; got {reduction!r}.")
