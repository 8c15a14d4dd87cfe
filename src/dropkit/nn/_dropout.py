"""Dropout as a layer."""

import torch
from torch import Tensor

from dropkit.functional._dropout import Mode, apply_dropout, check_mode
from dropkit.functional._noise_shape import NoiseShape, check_noise_shape, resolved
from dropkit.nn._layer import Layer


class Dropout(Layer, torch.nn.Dropout, theirs=torch.nn.Dropout):
    """In training, zero each element with chance `p` and scale the others by ``1 / (1 - p)``.

    A drop-in for ``torch.nn.Dropout``, and a subclass of it: same constructor, repr and (empty)
    state dict. In eval, or with `p` of 0, the input itself is returned.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        inplace: Also write the result to the input.
        mode: ``"inverted"``, or ``"vanilla"`` for the original form: no scaling in training,
            outputs times ``1 - p`` in eval.
        noise_shape: Which elements are dropped together: for each dimension of the input 1 where
            its elements share their fate, and None, or the size, where each has its own.

    Shape:
        Input ``(*)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        OptionError: `mode` is neither, or `noise_shape` is none, or does not fit an input.

    Source:
        Srivastava et al. 2014, JMLR 15.

    >>> Dropout(0.1)
    Dropout(p=0.1, inplace=False)
    """

    extras = {"mode": "inverted", "noise_shape": None}  # noqa: RUF012 - as the base has it

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        mode: Mode = "inverted",
        noise_shape: NoiseShape | None = None,
    ) -> None:
        check_mode(mode)
        super().__init__(p, inplace)
        self.mode: Mode = mode
        self.noise_shape = None if noise_shape is None else check_noise_shape(noise_shape)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop elements of `input`, ``(*)``, in training."""
        threshold = self.threshold
        check_mode(self.mode)
        shape = None if self.noise_shape is None else resolved(self.noise_shape, input.shape)
        return apply_dropout(
            input, threshold, self.training, self.inplace, law=self.mode, shape=shape, site=self
        )

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        said = super().extra_repr()
        if self.mode != "inverted":
            said += f", mode={self.mode!r}"
        return said if self.noise_shape is None else f"{said}, noise_shape={self.noise_shape}"
