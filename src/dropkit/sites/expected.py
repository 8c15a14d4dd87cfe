"""What a mask made by hand is on average."""

from typing import Any

import torch
from torch import Tensor


def expected_bernoulli(x: Tensor, keep: Any, *, is_in_place: bool) -> Tensor:
    """The chances themselves in place of a draw from them.

    A mask ``m ~ Bernoulli(keep)`` that is used as ``x * m / keep`` then gives `x`. Where masks are
    whole numbers or truth values the likelier one is taken.

    Args:
        x: The tensor that `bernoulli` was called on: the chances themselves, or, with `keep`, what
            has the shape and type of the mask.
        keep: A chance in [0, 1], a tensor of them, or None.
        is_in_place: Write to `x`, as ``bernoulli_`` does.
    """
    chances = x if keep is None else torch.as_tensor(keep, dtype=torch.float64, device=x.device)
    if not x.is_floating_point():
        chances = chances >= 0.5
    to = x if is_in_place else torch.empty_like(x)
    with torch.no_grad():
        return to.copy_(chances)
