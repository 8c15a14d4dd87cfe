"""Gaussian dropout as a layer."""

from torch import Tensor

from dropkit.core.laws import GAUSSIAN
from dropkit.functional._dropout import apply_dropout
from dropkit.functional._gaussian import gaussian_threshold
from dropkit.nn._layer import Layer


class GaussianDropout(Layer):
    """In training, multiply each element by a normal number of mean 1, variance ``p / (1 - p)``.

    In eval, or with `p` of 0, the input itself is returned.

    Args:
        p: Drop rate in [0, 1), of the dropout with the same variance.
        inplace: Also write the result to the input.

    Shape:
        Input ``(*)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1) or nan.

    Source:
        Srivastava et al. 2014, JMLR 15, section 10.

    >>> GaussianDropout(0.1)
    GaussianDropout(p=0.1, inplace=False)
    """

    threshold_of = staticmethod(gaussian_threshold)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Multiply elements of `input`, ``(*)``, in training."""
        return apply_dropout(
            input,
            self.threshold,
            self.training,
            self.inplace,
            law=GAUSSIAN,
            shape=tuple(input.shape),
            site=self,
        )
