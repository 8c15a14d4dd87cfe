"""Dropout of whole channels as layers."""

import torch
from torch import Tensor

from dropkit.functional._channels import drop_channels
from dropkit.nn._layer import Layer


class Dropout1d(Layer, torch.nn.Dropout1d, theirs=torch.nn.Dropout1d):
    """In training, zero each channel with chance `p` and scale the others by ``1 / (1 - p)``.

    A drop-in for ``torch.nn.Dropout1d``, and a subclass of it. In eval, or with `p` of 0, the
    input itself is returned.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        inplace: Also write the result to the input.

    Shape:
        Input ``(N, C, L)`` or ``(C, L)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        ShapeError: An input has another number of dimensions.

    Source:
        Tompson et al. 2015, CVPR, arXiv:1411.4280.

    >>> Dropout1d(0.1)
    Dropout1d(p=0.1, inplace=False)
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop channels of `input`, ``(N, C, L)`` or ``(C, L)``, in training."""
        return drop_channels(input, self.threshold, self.training, self.inplace, n=1, site=self)


class Dropout2d(Layer, torch.nn.Dropout2d, theirs=torch.nn.Dropout2d):
    """`Dropout1d` for two spatial dimensions; a drop-in for ``torch.nn.Dropout2d``.

    Shape:
        Input ``(N, C, H, W)``, output the same. As in torch, ``(N, C, L)`` is served with a
        warning.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop channels of `input`, ``(N, C, H, W)``, in training."""
        return drop_channels(input, self.threshold, self.training, self.inplace, n=2, site=self)


class Dropout3d(Layer, torch.nn.Dropout3d, theirs=torch.nn.Dropout3d):
    """`Dropout1d` for three spatial dimensions; a drop-in for ``torch.nn.Dropout3d``.

    Shape:
        Input ``(N, C, D, H, W)`` or ``(C, D, H, W)``, output the same.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop channels of `input`, ``(N, C, D, H, W)`` or ``(C, D, H, W)``, in training."""
        return drop_channels(input, self.threshold, self.training, self.inplace, n=3, site=self)
