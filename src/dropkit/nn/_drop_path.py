"""Dropout of whole residual branches: stochastic depth."""

from torch import Tensor

from dropkit.core.rate import threshold_from_rate
from dropkit.functional._drop_path import DepthMode, apply_drop_path, check_depth_mode
from dropkit.nn._layer import Layer


class DropPath(Layer):
    """In training, zero whole examples with chance `drop_prob`, and scale the others.

    It stands at the end of a residual branch, ``x + drop_path(branch(x))``, so that a dropped
    example skips the branch. In eval, or at a rate of 0, the input itself is returned.

    Args:
        drop_prob: Drop rate in [0, 1]; a share, not a percentage. Kept as `p`, and as `drop_prob`.
        scale_by_keep: Whether kept examples are multiplied by ``1 / (1 - drop_prob)``.

    Shape:
        Input ``(N, *)`` with N examples, output the same.

    Raises:
        RateError: `drop_prob` is outside [0, 1] or nan.

    Source:
        Huang et al. 2016, ECCV, arXiv:1603.09382. Arguments and repr are those of timm's layer.

    >>> DropPath(0.1)
    DropPath(drop_prob=0.100)
    >>> [DropPath(p) for p in dropkit.functional.drop_path_rates(0.1, 3)]
    [DropPath(drop_prob=0.000), DropPath(drop_prob=0.050), DropPath(drop_prob=0.100)]
    """

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__(drop_prob)
        self.scale_by_keep = scale_by_keep

    @staticmethod
    def threshold_of(p: float) -> int:
        """The rate times 65536, under the name that the layer has for it."""
        return threshold_from_rate(p, name="drop_prob")

    @property
    def drop_prob(self) -> float:
        """`p`, as timm calls it."""
        return self.p

    @drop_prob.setter
    def drop_prob(self, rate: float) -> None:
        self.p = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop examples of `x`, ``(N, *)``, in training."""
        return apply_drop_path(x, self.threshold, self.training, self.scale_by_keep, site=self)

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        said = f"drop_prob={self.p:.3f}"
        return said if self.scale_by_keep else f"{said}, scale_by_keep=False"


class StochasticDepth(Layer):
    """`DropPath` under the names of ``torchvision.ops.StochasticDepth``.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        mode: ``"row"`` drops each example for itself, ``"batch"`` all of them or none.

    Shape:
        Input ``(N, *)`` with N examples, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        OptionError: `mode` is neither.

    Source:
        Huang et al. 2016, ECCV, arXiv:1603.09382, where it is ``"batch"``.

    >>> StochasticDepth(0.2, "row")
    StochasticDepth(p=0.2, mode=row)
    """

    def __init__(self, p: float, mode: DepthMode) -> None:
        check_depth_mode(mode)
        super().__init__(p)
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torchvision's own name
        """Drop examples of `input`, ``(N, *)``, in training."""
        return apply_drop_path(input, self.threshold, self.training, mode=self.mode, site=self)

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"p={self.p}, mode={self.mode}"
