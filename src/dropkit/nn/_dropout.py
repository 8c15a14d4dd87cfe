"""Dropout as a layer."""

from typing import Any

import torch
from torch import Tensor

from dropkit.core.ops import site_number
from dropkit.core.rate import threshold_from_rate
from dropkit.functional._dropout import Mode, apply_dropout, check_mode
from dropkit.nn._live_rate import LiveRate


class Dropout(LiveRate, torch.nn.Dropout):
    """In training, zero each element with chance `p` and scale the others by ``1 / (1 - p)``.

    A drop-in for ``torch.nn.Dropout``, and a subclass of it: same constructor, repr and (empty)
    state dict. In eval, or with `p` of 0, the input itself is returned.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        inplace: Also write the result to the input.
        mode: ``"inverted"``, or ``"vanilla"`` for the original form: no scaling in training,
            outputs times ``1 - p`` in eval.

    Shape:
        Input ``(*)``, output the same.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        OptionError: `mode` is neither.

    Source:
        Srivastava et al. 2014, JMLR 15.

    >>> Dropout(0.1)
    Dropout(p=0.1, inplace=False)
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, mode: Mode = "inverted") -> None:
        threshold_from_rate(p)
        check_mode(mode)
        super().__init__(p, inplace)
        self.mode: Mode = mode
        self._site_number = site_number(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a copied or loaded state; a copy is a site of its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._site_number = site_number(self)
        self.note_rate()

    @classmethod
    def adopt(cls, module: torch.nn.Dropout) -> None:
        """Make a plain ``torch.nn.Dropout`` one of these, in place."""
        module.__class__ = cls
        vars(module).update(mode="inverted", _site_number=site_number(module))
        cls.note_rate(module)  # type: ignore[arg-type]  # now it is one

    @staticmethod
    def release(module: torch.nn.Dropout) -> None:
        """Undo `adopt`."""
        module.__class__ = torch.nn.Dropout
        del module.mode, module._site_number, module._is_off  # noqa: SLF001

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Drop elements of `input`, ``(*)``, in training."""
        return apply_dropout(
            input,
            self.threshold,
            self.training,
            self.inplace,
            address=None,
            mode=self.mode,
            site=self,
        )

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        said = super().extra_repr()
        return said if self.mode == "inverted" else f"{said}, mode={self.mode!r}"
