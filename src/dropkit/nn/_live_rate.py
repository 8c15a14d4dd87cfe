"""A layer's rate as data that a compiled graph reads when it runs."""

from numbers import Real
from typing import Any

import torch
from torch import nn

from dropkit.core.ops import FROM_SITE
from dropkit.core.rate import threshold_from_rate


class LiveRate(nn.Module):
    """A module whose rate `p` may change without a new graph.

    What torch.compile reads of a module it guards on: a graph that had read `p` would be compiled
    anew for each rate. So a graph asks for the rate when it runs, and is guarded only on whether
    the rate is 0: then there is nothing in it, as there is nothing in eager mode.
    """

    p: float
    _is_off: bool

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; with `p` goes what graphs are guarded on in its place."""
        super().__setattr__(name, value)
        if name == "p":
            self.note_rate()

    def note_rate(self) -> None:
        """See whether the rate is 0; for those who set `p` without setting the attribute."""
        p: Any = self.p  # whatever was set; it is checked at the next call
        vars(self)["_is_off"] = isinstance(p, Real) and bool(p == 0)

    @property
    def threshold(self) -> int:
        """What the next call drops at, in 65536ths; in a graph `FROM_SITE`, except for 0."""
        # torch.export keeps the rate: a program that is saved cannot ask for it.
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            return 0 if self._is_off else FROM_SITE
        return threshold_from_rate(self.p)
