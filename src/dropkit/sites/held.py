"""Attributes that several changes set, each of which may be taken back at any time."""

import contextlib
import threading
import weakref
from typing import Any

from torch import Tensor, nn

_lock = threading.RLock()


class Hold:
    """One setting of an attribute.

    Args:
        thing: Whose attribute it is.
        name: Of the attribute.
    """

    def __init__(self, thing: Any, name: str) -> None:
        self._thing, self._name = thing, name
        self._link = _Link(_now(thing, name))
        with _lock:
            if id(thing) not in _links:
                _links[id(thing)] = {}
                weakref.finalize(thing, _links.pop, id(thing), None).atexit = False
            self._all = _links[id(thing)].setdefault(name, [])
            self._all.append(self._link)

    def set(self, value: Any) -> None:
        """Set another value; what was set later comes first, and what was taken back is over."""
        with _lock:
            if self._link in self._all:
                self._write(self._all.index(self._link) + 1, value)

    def let_go(self) -> None:
        """Take it back."""
        with _lock:
            at = self._all.index(self._link)
            del self._all[at]
            self._write(at, self._link.before)

    def _write(self, at: int, value: Any) -> None:
        """To the attribute, or to where the later link in this place keeps what was before."""
        if at < len(self._all):
            self._all[at].before = value
        else:
            _put(self._thing, self._name, value)


class _Link:
    """What was there before a setting."""

    def __init__(self, before: Any) -> None:
        self.before = before


#: By the id of an object and the name of an attribute, the earliest first. It keeps no object.
_links: dict[int, dict[str, list[_Link]]] = {}


def hold(thing: Any, name: str, value: Any, steps: contextlib.ExitStack) -> Hold:
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
    one = Hold(thing, name)
    steps.callback(one.let_go)
    one.set(value)
    return one


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
