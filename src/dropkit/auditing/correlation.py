"""How much neighbours in feature maps say the same."""

import torch
from torch import Tensor

#: Fewer neighbours tell nothing.
_LEAST = 256


def neighbour_correlation(x: Tensor) -> float | None:
    """Correlation of neighbours along the last two dimensions, the mean over channels.

    Args:
        x: ``(batch, channels, ..., height, width)``, floating.

    Returns:
        None where there are too few neighbours or no channel varies.

    >>> ramp = torch.arange(32.0).expand(2, 3, 32, 32)
    >>> round(neighbour_correlation(ramp + ramp.mT), 2)
    1.0
    """
    maps = x.detach().double().transpose(0, 1).flatten(1, -3)
    if maps.dim() != 4 or maps.shape[-1] < 2 or maps.shape[-2] < 2:
        return None
    if maps[0].numel() < _LEAST:
        return None
    along = [_correlations(maps[..., 1:], maps[..., :-1])]
    along.append(_correlations(maps[..., 1:, :], maps[..., :-1, :]))
    both = torch.stack(along).mean(0)
    varying = both[both.isfinite()]
    return float(varying.mean()) if len(varying) else None


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's, for each channel; nan for one that does not vary."""
    one, other = one.flatten(1), other.flatten(1)
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return (one * other).sum(1) / (one.square().sum(1) * other.square().sum(1)).sqrt()
