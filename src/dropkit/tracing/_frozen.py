"""Masks that are frozen site by site: each site draws under the seed's step and sample it is told."""

from collections.abc import Mapping

from torch import nn

from dropkit.core.address import Address
from dropkit.core.scope import Scope
from dropkit.sites.drawn import Drawn

#: The two masks of a site in a block: the samples 0 and 1 of ``masks_at(seed, step=block)``.
A, B = 0, 1


def root_of(seed: int, block: int, sample: int) -> Address:
    """The address that ``masks_at(seed, step=block, sample=sample)`` begins with."""
    return Address.from_seed(seed).fold(block).fold(sample)


class FrozenMasks(Scope):
    """Names calls by their sites, functions too, and gives each site the sample it is told.

    Where all sites have one sample these are the masks of ``masks_at(seed, step=block, sample)``
    for layers; calls of functions, which have no name there, have that of their site.

    Args:
        drawn: Tells the sites.
        seed: Of all masks.
        block: The step.
        samples: Of each site by name; 0 for the others.
    """

    def __init__(self, drawn: Drawn, seed: int, block: int, samples: Mapping[str, int]) -> None:
        super().__init__(root_of(seed, block, A), None)
        self._drawn, self._samples = drawn, samples
        self._roots = {sample: root_of(seed, block, sample) for sample in (A, B)}

    def next_address(self, site: nn.Module | None, name: str | None = None) -> Address:
        """The address of the next call at the site that draws now."""
        name = self._drawn.name(site) or name or ""
        with self._lock:
            if name not in self._sites:
                root = self._roots[self._samples.get(name, A)]
                self._sites[name] = root.fold(name)
        return super().next_address(None, name)

    @property
    def drew(self) -> frozenset[str]:
        """The sites that have drawn so far."""
        return frozenset(self._calls)
