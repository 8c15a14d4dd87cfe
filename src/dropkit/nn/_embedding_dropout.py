"""Dropout of rows of an embedding table."""

from torch import Tensor, nn

from dropkit.functional._embedding_dropout import drop_word_types
from dropkit.nn._layer import Layer


class EmbeddingDropout(Layer):
    """In training, zero each row of an embedding table with chance `p`, and scale the others.

    A word type is dropped everywhere in the batch, or nowhere: element ``i`` of the mask belongs
    to row ``i`` of the table, whatever ``rows`` of `dropkit.masks_at` says. The table is not
    copied; only the rows that are looked up are touched. In eval, or at a rate of 0, it is the
    module itself.

    Args:
        module: An ``nn.Embedding``, or what else gives ids ``(*)`` vectors ``(*, width)``. Its keys
            in the state dict have ``module.`` in front, as with ``DataParallel``.
        p: Drop rate in [0, 1]; a share, not a percentage.

    Shape:
        Input ``(*)`` int32 or int64, output ``(*, width)``.

    Raises:
        RateError: `p` is outside [0, 1] or nan.

    Source:
        Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287; Merity et al. 2017, arXiv:1708.02182
        (AWD-LSTM).

    >>> words = EmbeddingDropout(nn.Embedding(100, 4), p=0.1)
    >>> words
    EmbeddingDropout(
      p=0.1
      (module): Embedding(100, 4)
    )
    >>> words(torch.tensor([[7, 8, 7]])).shape
    torch.Size([1, 3, 4])
    """

    def __init__(self, module: nn.Module, p: float = 0.5) -> None:
        super().__init__(p)
        self.module = module

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Embed `input`, ``(*)`` ids, in training with rows dropped."""
        return drop_word_types(self.module(input), input, self.threshold, self.training, site=self)

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"p={self.p}"
