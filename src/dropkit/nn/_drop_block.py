"""Dropout of blocks of a feature map."""

from torch import Tensor

from dropkit.functional._counts import check_count
from dropkit.functional._drop_block import Blocks, apply_drop_block
from dropkit.nn._layer import Layer


class DropBlock2d(Layer):
    """In training, zero squares of each channel of each example, and scale the rest.

    What is dropped at random is where squares begin, at a rate such that about the share `p` of
    the elements is dropped; see `dropkit.functional.drop_block2d`. In eval, or at a rate of 0, the
    input itself is returned.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        block_size: Elements a side of a square, from 1 on; at most the least side of an input.
        inplace: Also write the result to the input.
        eps: Added to the number of kept elements.

    Shape:
        Input ``(N, C, H, W)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        OptionError: `block_size` is no such number, or larger than a side of an input.
        ShapeError: An input has not four dimensions.

    Source:
        Ghiasi et al. 2018, NeurIPS, arXiv:1810.12890. Arguments and scaling are those of
        ``torchvision.ops.DropBlock2d``.

    >>> DropBlock2d(0.1, block_size=7)
    DropBlock2d(p=0.1, block_size=7, inplace=False)
    """

    _n_sides = 2

    def __init__(self, p: float, block_size: int, inplace: bool = False, eps: float = 1e-6) -> None:
        check_count(block_size, "block_size")
        super().__init__(p, inplace)
        self.block_size = block_size
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torchvision's own name
        """Drop blocks of `input` in training."""
        blocks = Blocks(self.block_size, self._n_sides, self.eps)
        return apply_drop_block(
            input, self.threshold, blocks, self.training, self.inplace, site=self
        )

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"p={self.p}, block_size={self.block_size}, inplace={self.inplace}"


class DropBlock3d(DropBlock2d):
    """`DropBlock2d` with cubes: its input is ``(N, C, D, H, W)``.

    Arguments, results and errors are those of `DropBlock2d`.

    >>> DropBlock3d(0.1, block_size=3)
    DropBlock3d(p=0.1, block_size=3, inplace=False)
    """

    _n_sides = 3
