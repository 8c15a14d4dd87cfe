"""Dropout of whole residual branches."""

from typing import Literal, get_args

from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.rate import threshold_from_rate
from dropkit.errors import OptionError, ShapeError
from dropkit.functional._counts import check_count
from dropkit.functional._dropout import apply_dropout

DepthMode = Literal["row", "batch"]


def drop_path(
    x: Tensor,
    drop_prob: float = 0.0,
    training: bool = False,
    scale_by_keep: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """Zero whole examples of a residual branch with chance `drop_prob`, and scale the others.

    Args:
        x: ``(N, *)`` float32, float64, bfloat16 or float16: the branch's output, of N examples.
        drop_prob: Drop rate in [0, 1]; a share, not a percentage.
        training: False, as here and in timm it is by default, returns `x` itself.
        scale_by_keep: Whether kept examples are multiplied by ``1 / (1 - drop_prob)``.
        address: Names the mask, whose element ``n`` belongs to example ``n``; see
            `dropkit.functional.dropout`.

    Returns:
        Like `x`. Dropped elements are +0 whatever they were, and so are their gradients.

    Raises:
        RateError: `drop_prob` is outside [0, 1] or nan.
        DtypeError: `x` is not of a floating type that has a kernel.
        ShapeError: `x` has no dimension.

    Source:
        Huang et al. 2016, ECCV, arXiv:1603.09382, for each example as in EfficientNet; arguments
        are those of timm.

    >>> drop_path(torch.ones(3, 2), 0.5, training=True, address=Address.from_seed(3))
    tensor([[2., 2.],
            [0., 0.],
            [0., 0.]])
    """
    threshold = threshold_from_rate(drop_prob, name="drop_prob")
    return apply_drop_path(x, threshold, training, scale_by_keep, address=address)


def stochastic_depth(
    input: Tensor,  # noqa: A002 - torchvision's own name
    p: float,
    mode: DepthMode,
    training: bool = True,
    *,
    address: Address | None = None,
) -> Tensor:
    """`drop_path` under the names of ``torchvision.ops.stochastic_depth``.

    Args:
        input: ``(N, *)`` float32, float64, bfloat16 or float16.
        p: Drop rate in [0, 1]; a share, not a percentage.
        mode: ``"row"`` drops each example for itself, ``"batch"`` all of them or none.
        training: False returns `input` itself.
        address: Names the mask; see `dropkit.functional.dropout`.

    Returns:
        Like `input`; what is kept is multiplied by ``1 / (1 - p)``.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `input` is not of a floating type that has a kernel.
        OptionError: `mode` is neither.

    Source:
        Huang et al. 2016, ECCV, arXiv:1603.09382, where it is ``"batch"``.
    """
    check_depth_mode(mode)
    threshold = threshold_from_rate(p)
    return apply_drop_path(input, threshold, training, mode=mode, address=address)


def drop_path_rates(rate: float, n_blocks: int) -> list[float]:
    """Rates for the blocks of a model, from 0 at the first to `rate` at the last, evenly spaced.

    The paper gives block ``l`` of ``L`` the rate ``l / L * rate``, so that the first block drops
    too: that is ``drop_path_rates(rate, L + 1)[1:]``.

    Args:
        rate: Drop rate in [0, 1] of the last block.
        n_blocks: A whole number from 1 on. A single block gets 0.

    Raises:
        RateError: `rate` is outside [0, 1] or nan.
        OptionError: `n_blocks` is no such number.

    Source:
        Huang et al. 2016, ECCV, arXiv:1603.09382; as timm and torchvision's models have it.

    >>> drop_path_rates(0.5, 5)
    [0.0, 0.125, 0.25, 0.375, 0.5]
    """
    threshold_from_rate(rate, name="rate")
    check_count(n_blocks, "n_blocks")
    last = max(1, n_blocks - 1)
    return [rate * (block / last) for block in range(n_blocks)]


def check_depth_mode(mode: str) -> None:
    """Raise OptionError unless `mode` is one that stochastic depth has."""
    if mode not in get_args(DepthMode):
        raise OptionError(f"`mode` must be 'row' or 'batch'; got {mode!r}.")


def apply_drop_path(
    x: Tensor,
    threshold: int,
    training: bool,
    scale_by_keep: bool = True,
    *,
    mode: DepthMode = "row",
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`drop_path` or `stochastic_depth`, called at `site`."""
    if not training:
        return x
    if x.dim() == 0:
        raise ShapeError(
            "Stochastic depth needs a tensor with a dimension of examples; got shape ()."
        )
    first = x.shape[0] if mode == "row" else 1
    return apply_dropout(
        x,
        threshold,
        True,
        False,
        law="inverted" if scale_by_keep else "vanilla",
        shape=(first, *[1] * (x.dim() - 1)),
        address=address,
        site=site,
    )
