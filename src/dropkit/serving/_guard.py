"""A watch on a model in service: no forward may draw a mask."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from torch import nn

from dropkit.core.files import write_text
from dropkit.errors import OptionError
from dropkit.nn._layer import Layer
from dropkit.serving._draws_counted import Counts, Enter, LayerHook, Leave, Looking
from dropkit.serving._guarded import Action, GuardRecord
from dropkit.sites.change import Change
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.uncertainty._sampling import uncompiled


def guard(
    model: nn.Module, action: Action = "raise", *, allow: str | Sequence[str] = ()
) -> "Guard":
    """From now on no forward of `model` draws a mask unseen.

    Every kind of dropout is seen where it draws: layers, functions, attention, recurrent layers,
    ``torch.bernoulli``, and uniform random numbers that the model's code asks torch for. What draws
    nothing costs next to nothing, so that the guard can stay on in production. Any thread may call
    the model. Not seen one by one are numpy's and Python's numbers, and what ``torch.jit`` has
    compiled: for the latter, `GuardRecord.moved_generator` counts.

    Args:
        model: Any module; it is called as before, and not kept alive.
        action: ``"raise"`` stops a forward at the first mask, before it is drawn; ``"count"`` lets
            it go on.
        allow: Glob patterns over names of sites that may draw.

    Returns:
        The guard, with ``undo()``, usable in ``with``.

    Raises:
        OptionError: `action` is neither, or `model` is no module.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)).eval()
    >>> with guard(model) as watch:
    ...     _ = model(torch.ones(1, 2))
    >>> watch.record().forwards, watch.is_clean
    (1, True)
    """
    return Guard(model, action, [allow] if isinstance(allow, str) else list(allow))


class Guard(Change):
    """What `guard` gives: reads what was seen, and ends with `undo`; the record stays.

    Args:
        model: See `guard`.
        action: Likewise.
        allow: Likewise.
    """

    def __init__(self, model: nn.Module, action: Action, allow: Sequence[str]) -> None:
        if action not in get_args(Action):
            raise OptionError(f"`action` must be 'raise' or 'count'; got {action!r}.")
        if not isinstance(model, nn.Module):
            raise OptionError(f"`model` must be an nn.Module; got a {type(model).__name__}.")
        self._state = state = Counts(uncompiled(model), action, allow)
        super().__init__(contextlib.ExitStack())
        inner = uncompiled(model)
        self._steps.enter_context(ReplacedFunctions(inner, Looking(state)))
        for module in inner.modules():
            if isinstance(module, Layer):
                hook = module.register_forward_pre_hook(LayerHook(state))
                self._steps.callback(hook.remove)
        enter = model.register_forward_pre_hook(Enter(state), prepend=True)
        leave = model.register_forward_hook(Leave(state), always_call=True)
        self._steps.callback(enter.remove)
        self._steps.callback(leave.remove)

    @property
    def is_clean(self) -> bool:
        """Whether no mask has been seen so far."""
        return not self._state.sites

    def record(self) -> GuardRecord:
        """What was seen so far."""
        return self._state.record()

    def to_dict(self) -> dict[str, Any]:
        """`record`, as plain data."""
        return self.record().to_dict()

    def save(self, path: str | Path) -> None:
        """Write `to_dict` as JSON, in one step; `dropkit gate` reads it.

        Raises:
            OSError: The folder is missing or cannot be written to.
        """
        write_text(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    def reset(self) -> None:
        """Begin to count anew."""
        self._state.reset()
