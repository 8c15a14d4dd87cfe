"""One mask over time."""

from torch import Tensor

from dropkit.errors import ShapeError
from dropkit.functional._dropout import apply_dropout
from dropkit.nn._layer import Layer


class LockedDropout(Layer):
    """In training, drop the same features at every step of a sequence, others in each sequence.

    Also known as variational dropout of recurrent networks. In eval, or with `p` of 0, the input
    itself is returned.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        inplace: Also write the result to the input.
        batch_first: Whether the batch is the first dimension, and time the second; else the other
            way round, as ``torch.nn.LSTM`` has it. An example's mask does not depend on it.

    Shape:
        Input ``(T, B, *)``, or ``(B, T, *)`` with `batch_first`; output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        ShapeError: An input has fewer than two dimensions.

    Source:
        Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287; the name is from AWD-LSTM, Merity et
        al. 2018, ICLR, arXiv:1708.02182.

    >>> LockedDropout(0.1, batch_first=True)
    LockedDropout(p=0.1, inplace=False, batch_first=True)
    """

    extras = {"batch_first": False}  # noqa: RUF012 - as the base has it

    def __init__(self, p: float = 0.5, inplace: bool = False, *, batch_first: bool = False) -> None:
        super().__init__(p, inplace)
        self.batch_first = batch_first

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop features of `input`, ``(T, B, *)`` or ``(B, T, *)``, in training."""
        if input.dim() < 2:
            raise ShapeError(
                "`input` must have a dimension of time and one of the batch; "
                f"got the shape {tuple(input.shape)}."
            )
        threshold = self.threshold
        if threshold == 0 or not self.training:
            return input
        batch = input if self.batch_first else input.transpose(0, 1)
        shape = (batch.shape[0], 1, *batch.shape[2:])
        out = apply_dropout(batch, threshold, True, self.inplace, shape=shape, site=self)
        if self.inplace:
            return input
        return out if self.batch_first else out.transpose(0, 1)

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        said = super().extra_repr()
        return f"{said}, batch_first=True" if self.batch_first else said
