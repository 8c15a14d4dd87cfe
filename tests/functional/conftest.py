"""What the tests of attention share."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dropkit import Address
from dropkit.core import attention_tiles, attention_whole, reference
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold, threshold_from_rate

#: (query, key, value, p, address) and `attn_mask`, `is_causal`, `scale` -> output
Attend = Callable[..., Tensor]

#: Bytes of a tile, or queries and keys of a block: do attention in these from now on.
Cut = Callable[[int | tuple[int, int]], None]


@pytest.fixture
def cut_attention(monkeypatch: pytest.MonkeyPatch) -> Cut:
    """Attention goes tile by tile in small ones, or whole in small blocks."""

    def cut(how: int | tuple[int, int]) -> None:
        if isinstance(how, int):
            monkeypatch.setattr(attention_whole, "serves", lambda _: False)
            monkeypatch.setattr(attention_tiles, "BYTES_A_THREAD", how)
            monkeypatch.setattr(attention_tiles, "MIN_QUERIES", 2)
            return
        monkeypatch.undo()
        monkeypatch.setattr(attention_whole, "keeps_threads_at_work", lambda _: True)
        monkeypatch.setattr(attention_whole, "MOST_QUERIES", how[0])
        monkeypatch.setattr(attention_whole, "MOST_KEYS", how[1])

    return cut


@pytest.fixture(scope="session")
def plain_attention() -> Attend:
    """Attention in a few lines and in the dtype it is given; the slow twin draws the mask."""

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        p: float,
        address: Address,
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        if query.dim() > 2:
            group = query.shape[-3] // key.shape[-3]
            key, value = (x.repeat_interleave(group, -3) for x in (key, value))
        scores = query @ key.mT * (scale or 1 / math.sqrt(query.shape[-1]))
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        is_dead = (scores == -torch.inf).all(-1, keepdim=True)
        probabilities = scores.masked_fill(is_dead, 0.0).softmax(-1).masked_fill(is_dead, 0.0)
        threshold, n = threshold_from_rate(p), probabilities.numel()
        keep = reference.keep_mask(address.key, address.stream, threshold, Place.whole(n), n)
        mask = keep.view(probabilities.shape).to(value) * scale_from_threshold(threshold)
        return (probabilities * mask) @ value

    return attend
