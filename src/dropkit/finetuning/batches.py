"""An order in which examples of like length share a batch, so that little of it is padding."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

#: Batches' worth of examples that are sorted together; more makes batches less random.
_POOL = 8


class LikeLengths(Sampler[int]):
    """Every example once an epoch, those of a batch of like length, batches in random order.

    The order is a function of seed and epoch alone: the same in every arm of a replicate, and in a
    run that goes on from a checkpoint.

    Args:
        lengths: Of each example, in tokens.
        batch: Examples a step.
        seed: Of the order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths, self._batch, self._seed, self._epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch; those differ in order."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed((self._seed + self._epoch) % 2**63)
        shuffled = torch.randperm(len(self._lengths), generator=chance).tolist()
        pool = self._batch * _POOL
        batches: list[list[int]] = []
        for start in range(0, len(shuffled), pool):
            near = sorted(shuffled[start : start + pool], key=self._lengths.__getitem__)
            batches += [near[k : k + self._batch] for k in range(0, len(near), self._batch)]
        whole = [one for one in batches if len(one) == self._batch]
        rest = [one for one in batches if len(one) < self._batch]  # one at most, and it stays last
        for k in torch.randperm(len(whole), generator=chance).tolist():
            yield from whole[k]
        for one in rest:
            yield from one

    def __len__(self) -> int:
        return len(self._lengths)
