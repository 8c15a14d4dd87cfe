"""Tokens left out of a sequence."""

from torch import Tensor

from dropkit.core.rate import threshold_from_rate
from dropkit.functional._counts import check_count
from dropkit.functional._patch_dropout import apply_patch_dropout
from dropkit.nn._layer import Layer


class PatchDropout(Layer):
    """In training, keep a random part of the tokens of each example: the sequence gets shorter.

    Each example keeps ``max(1, int(L * (1 - prob)))`` of its L tokens behind the prefix; nothing
    is scaled. In eval, or at a rate of 0, the input itself is returned. To replace words without
    shortening the sequence, see `WordDropout`.

    Args:
        prob: Drop rate in [0, 1]; a share, not a percentage. Kept as `p`, and as `prob`.
        num_prefix_tokens: Tokens at the beginning that are always kept: a class token, say.
        ordered: Whether the kept tokens stay in order; else they are shuffled.
        return_indices: Whether to return a pair, with which tokens behind the prefix were kept:
            ``(N, kept)`` int64, or None where nothing was dropped.

    Shape:
        Input ``(N, num_prefix_tokens + L, *)``, output ``(N, num_prefix_tokens + kept, *)``.

    Raises:
        RateError: `prob` is outside [0, 1] or nan.
        OptionError: `num_prefix_tokens` is no whole number from 0 on.
        ShapeError: An input has fewer than two dimensions.

    Source:
        Liu et al. 2023, WACV, arXiv:2208.07220; Li et al. 2023, CVPR, arXiv:2212.00794. Arguments
        are those of timm.

    >>> PatchDropout(0.5)(torch.ones(2, 1 + 16, 8)).shape
    torch.Size([2, 9, 8])
    """

    def __init__(
        self,
        prob: float = 0.5,
        num_prefix_tokens: int = 1,
        ordered: bool = False,
        return_indices: bool = False,
    ) -> None:
        check_count(num_prefix_tokens, "num_prefix_tokens", least=0)
        super().__init__(prob)
        self.num_prefix_tokens = num_prefix_tokens
        self.ordered = ordered
        self.return_indices = return_indices

    @staticmethod
    def threshold_of(p: float) -> int:
        """The rate times 65536, under the name that the layer has for it."""
        return threshold_from_rate(p, name="prob")

    @property
    def prob(self) -> float:
        """`p`, as timm calls it."""
        return self.p

    @prob.setter
    def prob(self, rate: float) -> None:
        self.p = rate

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor | None]:
        """Drop tokens of `x` in training."""
        self.threshold_of(self.p)
        shorter, kept = apply_patch_dropout(
            x, self.p, self.num_prefix_tokens, self.ordered, self.training, site=self
        )
        return (shorter, kept) if self.return_indices else shorter

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        said = f"prob={self.p}, num_prefix_tokens={self.num_prefix_tokens}"
        said += ", ordered=True" if self.ordered else ""
        return said + (", return_indices=True" if self.return_indices else "")
