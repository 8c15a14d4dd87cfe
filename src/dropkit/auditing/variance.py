"""How dropout changes the variance that a batch norm sees."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dropkit.auditing.drops import Moments
from dropkit.auditing.observations import Observations


def closed_form(p: float, mean: Tensor, variance: Tensor) -> Tensor:
    """The variance right behind dropout at rate `p` as a multiple of that in front of it.

    Args:
        p: Drop rate in [0, 1).
        mean: ``(channels,)`` of what is dropped.
        variance: ``(channels,)``, positive.

    Returns:
        ``(channels,)``, at least ``1 / (1 - p)``.

    Source:
        Li et al. 2019, CVPR, arXiv:1801.05134.

    >>> closed_form(0.5, torch.tensor([0.0, 2.0]), torch.ones(2))
    tensor([2., 6.])
    """
    return (1.0 + p * mean**2 / variance) / (1.0 - p)


@dataclass(frozen=True)
class Shift:
    """How many times as large the variance is in training as without dropout.

    Attributes:
        median: Over the channels.
        low: The smallest.
        high: The largest.
        channels: How many vary at all.
        count: Elements of a channel.
        expected: By the closed form, the median over the channels; None where it does not apply.
    """

    median: float
    low: float
    high: float
    channels: int
    count: int
    expected: float | None

    @property
    def told(self) -> str:
        """The numbers for people."""
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        facts = [f"{channels} of {self.count:,} elements on this batch"]
        if self.channels > 1:
            facts.append(f"from {self.low:.3g} to {self.high:.3g}")
        if self.expected is not None:
            facts.append(f"{self.expected:.3g} by the closed form")
        return f"{self.median:.3g} times as large in training as in use ({', '.join(facts)})"


def shift_at(seen: Observations, norm: nn.Module, p: float | None) -> Shift | None:
    """What dropout does to the variance of what `norm` is given.

    Measured by two forwards in training mode with and without dropout, all else alike.

    Args:
        seen: Of the model.
        norm: A batch norm.
        p: The rate of dropout right in front of it, for the closed form; None for dropout that is
            further away.

    Returns:
        None where the runs do not agree on what comes in, or no channel varies.
    """
    with_, without = (run.moments.get(norm, []) for run in (seen.training, seen.silent))
    if not with_ or len(with_) != len(without):
        return None
    ratios, expected = [], []
    for one, other in zip(with_, without, strict=True):
        varies = other.variance > 1e-12 * (other.mean**2 + 1e-30)
        if one.count != other.count:
            return None
        ratios.append(one.variance[varies] / other.variance[varies])
        if p is not None and p < 1.0:
            expected.append(closed_form(p, other.mean[varies], other.variance[varies]))
    ratio = torch.cat(ratios)
    if not len(ratio):
        return None
    return Shift(
        median=float(ratio.median()),
        low=float(ratio.min()),
        high=float(ratio.max()),
        channels=len(ratios[0]),
        count=_count(without),
        expected=float(torch.cat(expected).median()) if expected else None,
    )


def _count(moments: list[Moments]) -> int:
    return sum(one.count for one in moments)
