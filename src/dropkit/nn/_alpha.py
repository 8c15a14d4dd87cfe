"""Alpha dropout as layers."""

import torch
from torch import Tensor

from dropkit.functional._alpha import drop_alpha
from dropkit.nn._layer import Layer


class AlphaDropout(Layer, torch.nn.AlphaDropout, theirs=torch.nn.AlphaDropout):
    """In training, let each element saturate with chance `p` and keep mean 0 and variance 1.

    A drop-in for ``torch.nn.AlphaDropout``, and a subclass of it; the formula is that of
    `dropkit.functional.alpha_dropout`. In eval, or with `p` of 0, the input itself is returned.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        inplace: Without effect, as in torch's layer: the input is never written to.

    Shape:
        Input ``(*)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.

    Source:
        Klambauer et al. 2017, NeurIPS, arXiv:1706.02515.

    >>> AlphaDropout(0.1)
    AlphaDropout(p=0.1, inplace=False)
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Let elements of `input`, ``(*)``, saturate in training."""
        return drop_alpha(input, self.threshold, self.training, False, site=self)


class FeatureAlphaDropout(Layer, torch.nn.FeatureAlphaDropout, theirs=torch.nn.FeatureAlphaDropout):
    """`AlphaDropout` of whole channels; a drop-in for ``torch.nn.FeatureAlphaDropout``.

    Shape:
        Input ``(N, C, *)``, output the same.

    Raises:
        ShapeError: An input has fewer than two dimensions.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Let channels of `input`, ``(N, C, *)``, saturate in training."""
        return drop_alpha(
            input, self.threshold, self.training, False, is_per_channel=True, site=self
        )
