"""Attributes that several changes set, each of which may be taken back at any time."""

import contextlib
import threading
import weakref
from typing import Any

from torch import Tensor, nn


class _Hold:
    """One setting of an attribute: what was there before it."""

    def __init__(self, before: Any) -> None:
        self.before = before


_lock = threading.RLock()
#: By the id of an object and the name of an attribute, the earliest first. It keeps no object.
_holds: dict[int, dict[str, list[_Hold]]] = {}


def hold(thing: Any, name: str, value: Any, steps: contextlib.ExitStack) -> None:
    """Set an attribute; `steps` gets what takes it back.

    Taken back in whatever order, what was set last stays until it is taken back itself, and in the
    end there is what was there in the beginning.

    Args:
        thing: A module, a config or the like. A setting that nobody takes back stays, and does
            not keep it alive.
        name: Of the attribute.
        value: To set.
        steps: Gets a callback.
    """
    one = _Hold(_now(thing, name))
    with _lock:
        if id(thing) not in _holds:
            _holds[id(thing)] = {}
            weakref.finalize(thing, _holds.pop, id(thing), None).atexit = False
        _holds[id(thing)].setdefault(name, []).append(one)
    setattr(thing, name, value)
    steps.callback(_let_go, thing, name, one)


def _let_go(thing: Any, name: str, one: _Hold) -> None:
    with _lock:
        holds = _holds[id(thing)][name]
        at = holds.index(one)
        del holds[at]
        is_last = at == len(holds)
        if not is_last:
            holds[at].before = one.before
    if is_last:
        _put(thing, name, one.before)


class _Learned(list[tuple[Tensor, Tensor]]):
    """Parameters that a property computes its value from, each with its bits."""


def _now(thing: Any, name: str) -> Any:
    if isinstance(thing, nn.Module) and isinstance(getattr(type(thing), name, None), property):
        own = list(thing.parameters(recurse=False))
        if own:
            return _Learned((p, p.detach().clone()) for p in own)
    return getattr(thing, name)


def _put(thing: Any, name: str, value: Any) -> None:
    if isinstance(value, _Learned):
        for parameter, bits in value:
            parameter.data.copy_(bits)
    else:
        setattr(thing, name, value)
