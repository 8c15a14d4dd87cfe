"""Words replaced by the unknown one."""

from collections.abc import Sequence

from torch import Tensor

from dropkit.functional._word_dropout import apply_word_dropout
from dropkit.nn._layer import Layer


class WordDropout(Layer):
    """In training, replace each word by the unknown one with chance `p`.

    It stands in front of an embedding, and takes and gives ids. In eval, or at a rate of 0, the
    input itself is returned. To drop a word type everywhere in the batch, and to zero instead of
    to replace, see `EmbeddingDropout`; to shorten the sequence, see `PatchDropout`.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        unk_id: The word to put in their place.
        keep_ids: Words that are never replaced: of padding, of where a text begins and ends.

    Shape:
        Input ``(*)`` whole numbers of any type, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.

    Source:
        Bowman et al. 2016, CoNLL, arXiv:1511.06349; Dai and Le 2015, NeurIPS, arXiv:1511.01432.

    >>> WordDropout(0.2, unk_id=1, keep_ids=[0])
    WordDropout(p=0.2, unk_id=1, keep_ids=(0,))
    """

    def __init__(self, p: float, unk_id: int, keep_ids: Sequence[int] = ()) -> None:
        super().__init__(p)
        self.unk_id = unk_id
        self.keep_ids = tuple(keep_ids)

    def forward(self, ids: Tensor) -> Tensor:
        """Replace words of `ids`, ``(*)``, in training."""
        return apply_word_dropout(
            ids, self.threshold, self.unk_id, self.training, keep_ids=self.keep_ids, site=self
        )

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        said = f"p={self.p}, unk_id={self.unk_id}"
        return f"{said}, keep_ids={self.keep_ids}" if self.keep_ids else said
