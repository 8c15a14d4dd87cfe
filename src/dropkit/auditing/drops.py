"""What dropout did to one tensor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dropkit.sites.watch import Event

#: As many elements of a tensor are kept for rules to look at, or a few more.
SAMPLE = 2**17


@dataclass(eq=False)
class Drop:
    """One mask applied to one tensor, in a forward.

    Attributes:
        event: The draw of the mask.
        origin: Number of the place in the code that it belongs to; see `Flow`.
        shape: Of the whole tensor.
        x: What came in; the first elements along the first dimensions, about `SAMPLE` at most,
            detached. None where the operator drops inside, as attention does.
        y: What came out of these.
        made_by: Kind of the operator that made the input; see `operations`.
        scale_before: Factor of a plain number by which the model multiplied just before; 1 for none.
        scale_after: Likewise just behind.
        has_grad: Whether a gradient flows to anything that came in.
        in_no_grad: Whether gradients were switched off.
    """

    event: Event
    origin: int
    shape: tuple[int, ...]
    x: Tensor | None
    y: Tensor | None
    made_by: str = "other"
    scale_before: float = 1.0
    scale_after: float = 1.0
    has_grad: bool = False
    in_no_grad: bool = False

    @property
    def scale(self) -> float:
        """By which what was kept was multiplied by the mask, median; nan where nothing was kept."""
        if self.x is None or self.y is None:
            return math.nan
        x, y = self.x.double(), self.y.double()
        is_kept = (x != 0) & (y != 0) & x.isfinite()
        if not is_kept.any():
            return math.nan
        return float((y[is_kept] / x[is_kept]).median())

    @property
    def kept(self) -> Tensor | None:
        """Which elements of the sample were kept; True too where a zero came in."""
        return None if self.x is None or self.y is None else (self.y != 0) | (self.x == 0)


def sample(x: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """The first elements of `x` along the first dimensions: at least two rows if there are."""
    sizes = sample_sizes(x) if sizes is None else sizes
    for dim, size in enumerate(sizes):
        x = x.narrow(dim, 0, size)
    return x.detach().clone()


def sample_sizes(x: Tensor) -> list[int]:
    """How many of each dimension `sample` takes."""
    sizes = list(x.shape)
    for dim in range(len(sizes)):
        rest = math.prod(sizes[:dim]) * math.prod(sizes[dim + 1 :])
        if rest * sizes[dim] <= SAMPLE:
            break
        least = 2 if dim == 0 else 1
        sizes[dim] = max(min(least, sizes[dim]), SAMPLE // max(rest, 1))
    return sizes


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each channel of what a batch norm was given in one run.

    Attributes:
        mean: ``(channels,)`` float64.
        variance: ``(channels,)`` float64, biased.
        count: How many elements a channel had.
    """

    mean: Tensor
    variance: Tensor
    count: int

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """Those of `x`, whose dimension 1 is its channels."""
        with torch.no_grad():
            flat = x.detach().double().transpose(0, 1).reshape(x.shape[1], -1)
            variance, mean = torch.var_mean(flat, dim=1, correction=0)
        return cls(mean, variance, flat.shape[1])
