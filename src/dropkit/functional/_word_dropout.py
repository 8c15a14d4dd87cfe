"""Words replaced by the unknown one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.rate import threshold_from_rate
from dropkit.errors import DtypeError
from dropkit.functional._dropout import apply_dropout


def word_dropout(
    ids: Tensor,
    p: float,
    unk_id: int,
    training: bool = True,
    *,
    keep_ids: Sequence[int] = (),
    address: Address | None = None,
) -> Tensor:
    """Replace each word by the unknown one with chance `p`.

    Args:
        ids: ``(*)`` whole numbers of any type; words of a vocabulary.
        p: Drop rate in [0, 1]; a share, not a percentage.
        unk_id: The word to put in their place.
        training: False returns `ids` itself.
        keep_ids: Words that are never replaced: of padding, of where a text begins and ends.
        address: Names the mask, one element a word; see `dropkit.functional.dropout`.

    Returns:
        Like `ids`.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        DtypeError: `ids` are not whole numbers.

    Source:
        Bowman et al. 2016, CoNLL, arXiv:1511.06349; Dai and Le 2015, NeurIPS, arXiv:1511.01432.

    >>> word_dropout(torch.arange(10, 16), 0.5, unk_id=1, address=Address.from_seed(1))
    tensor([10, 11, 12,  1, 14,  1])
    """
    return apply_word_dropout(
        ids, threshold_from_rate(p), unk_id, training, keep_ids=keep_ids, address=address
    )


def apply_word_dropout(
    ids: Tensor,
    threshold: int,
    unk_id: int,
    training: bool,
    *,
    keep_ids: Sequence[int] = (),
    address: Address | None = None,
    site: nn.Module | None = None,
) -> Tensor:
    """`word_dropout`, called at `site`."""
    if threshold == 0 or not training:
        return ids
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        got = str(ids.dtype).removeprefix("torch.")
        raise DtypeError(f"`ids` must be a tensor of whole numbers; got {got}.")
    ones = torch.ones(ids.shape, dtype=torch.float32, device=ids.device)
    noise = apply_dropout(ones, threshold, True, False, law="vanilla", address=address, site=site)
    is_dropped = noise == 0
    for keep in keep_ids:
        is_dropped &= ids != keep
    return ids.masked_fill(is_dropped, unk_id)
