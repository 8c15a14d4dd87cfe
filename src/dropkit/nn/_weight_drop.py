"""Dropout of weights instead of activations."""

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dropkit.errors import OptionError
from dropkit.functional._dropout import apply_to_parameter
from dropkit.nn._layer import Layer


class WeightDrop(Layer):
    """In training, zero each element of the named parameters with chance `p`, one mask a call.

    The others are scaled by ``1 / (1 - p)``. For the time of a call the parameter is replaced by
    its dropped form, so that whatever the module does with it meets one and the same mask: all
    time steps of a recurrent layer, say. Gradients reach the parameter itself. In eval the module
    is called as it is.

    The parameters stay where they are: below the wrapped module, raw, under the keys that it has
    with ``module.`` in front, as with ``DataParallel``. So ``drop.module.load_state_dict(...)``
    takes what was saved without `WeightDrop`, and ``drop.module`` is the module to go on without.

    Args:
        module: Any module; its forward takes and returns what it likes.
        names: Of its parameters; ``"weight_hh_l0"``, or dotted, as ``named_parameters()`` has them.
        p: Drop rate in [0, 1]; a share, not a percentage. Read at each call, it may be changed.

    Shape:
        Those of `module`.

    Raises:
        RateError: `p` is outside [0, 1] or nan.
        OptionError: `names` is empty, or has something that is no parameter of `module`.

    Note:
        Of parameters that are tied to each other, only the named one is dropped. A call swaps the
        parameters of `module`: two threads need two copies, as ``DataParallel`` makes them.

    Source:
        DropConnect: Wan et al. 2013, ICML. Hidden-to-hidden weights of an LSTM: Merity et al.
        2017, arXiv:1708.02182 (AWD-LSTM).

    >>> lstm = WeightDrop(nn.LSTM(4, 8), "weight_hh_l0", p=0.5)
    >>> lstm
    WeightDrop(
      names=['weight_hh_l0'], p=0.5
      (module): LSTM(4, 8)
    )
    >>> outputs, (hidden, cell) = lstm(torch.ones(5, 2, 4))
    >>> list(lstm.state_dict())[:2]
    ['module.weight_ih_l0', 'module.weight_hh_l0']
    """

    def __init__(self, module: nn.Module, names: str | Sequence[str], p: float = 0.5) -> None:
        super().__init__(p)
        self.module = module
        self.names = [names] if isinstance(names, str) else list(names)
        _check_names(self.names, [name for name, _ in module.named_parameters()])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, in training with dropped parameters."""
        threshold = self.threshold
        if not self.training or threshold == 0:
            return self.module(*args, **kwargs)
        raw = {name: self._owned(name) for name in self.names}
        dropped = {
            name: apply_to_parameter(getattr(owner, leaf), threshold, site=self)
            for name, (owner, leaf) in raw.items()
        }
        try:
            return torch.func.functional_call(self.module, dropped, args, kwargs, tie_weights=False)
        finally:
            if not torch.compiler.is_compiling():
                # Recurrent layers keep a list of their weights, and learn by assignment alone
                # that one of them is another now: let go of the dropped one and its graph.
                for owner, leaf in raw.values():
                    setattr(owner, leaf, getattr(owner, leaf))

    def _owned(self, name: str) -> tuple[nn.Module, str]:
        path, _, leaf = name.rpartition(".")
        return self.module.get_submodule(path), leaf

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"names={self.names}, p={self.p}"


def _check_names(names: list[str], known: list[str]) -> None:
    wrong = [repr(name) for name in names if name not in known]
    if names and not wrong:
        return
    near = difflib.get_close_matches(wrong[0], known, n=3, cutoff=0.3) if wrong else []
    if near:
        hint = f"Near names: {', '.join(map(repr, near))}."
    elif known:
        hint = f"Its first are {', '.join(map(repr, known[:3]))}."
    else:
        hint = "It has none."
    got = wrong[0] if wrong else "none"
    raise OptionError(f"`names` must name parameters of `module`; got {got}. {hint}")
