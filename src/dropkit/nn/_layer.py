"""What every layer that draws masks has: a checked rate, and a site of its own."""

from numbers import Real
from typing import Any, ClassVar

import torch
from torch.nn.modules.dropout import _DropoutNd

from dropkit.core.ops import site_number
from dropkit.core.rate import FROM_SITE, threshold_from_rate

_in_graph = torch.compiler.is_dynamo_compiling  # each call asks: one look-up less


class Layer(_DropoutNd):
    """A layer at a drop rate.

    A layer that stands in for one of torch's inherits from both and says so: ``class
    Dropout(Layer, torch.nn.Dropout, theirs=torch.nn.Dropout)``. What it keeps beyond `p` and
    `inplace` it lists in `extras`, with the values that torch's layer would have.

    What torch.compile reads of a module it guards on: a graph that had read `p` would be compiled
    anew for each rate. So a graph asks for the rate when it runs, and is guarded only on whether
    the rate is 0: then there is nothing in it, as there is nothing in eager mode.

    Args:
        p: Drop rate in [0, 1].
        inplace: Also write the result to the input.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
    """

    #: The layer of ours for each of torch's.
    of_torchs: ClassVar[dict[type[_DropoutNd], type["Layer"]]] = {}
    extras: ClassVar[dict[str, Any]] = {}
    _theirs: ClassVar[type[_DropoutNd]]

    def __init_subclass__(cls, theirs: type[_DropoutNd] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if theirs is not None:
            cls._theirs = theirs
            Layer.of_torchs[theirs] = cls

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.threshold_of(p)
        super().__init__(p, inplace)
        self._site_number = site_number(self)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; with `p` goes what graphs are guarded on in its place."""
        super().__setattr__(name, value)
        if name == "p":
            self._is_off = _is_zero(value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a copied or loaded state; a copy is a site of its own."""
        vars(self).update(self.extras)  # an older version may have saved it without some
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._site_number = site_number(self)
        self._is_off = _is_zero(self.p)

    @property
    def threshold(self) -> int:
        """The rate that the next call acts at, times 65536; in a graph `FROM_SITE`, unless it is 0."""
        # torch.export keeps the rate: a program that is saved cannot ask for it.
        if _in_graph() and not torch.compiler.is_exporting():
            return 0 if self._is_off else FROM_SITE
        return self.threshold_of(self.p)

    @staticmethod
    def threshold_of(p: float) -> int:
        """A rate times 65536, rounded; layers that cannot act at every rate refuse some here.

        Raises:
            RateError: `p` is outside [0, 1] or nan.
        """
        return threshold_from_rate(p)

    @classmethod
    def adopt(cls, module: _DropoutNd) -> None:
        """Make one of torch's own layers one of these, in place."""
        module.__class__ = cls
        numbers = {"_site_number": site_number(module), "_is_off": _is_zero(module.p)}
        vars(module).update(cls.extras, **numbers)

    @classmethod
    def release(cls, module: _DropoutNd) -> None:
        """Undo `adopt`."""
        module.__class__ = cls._theirs
        for name in (*cls.extras, "_site_number", "_is_off"):
            delattr(module, name)


def _is_zero(p: object) -> bool:
    return isinstance(p, Real) and p == 0  # whatever was set; it is checked at the next call
