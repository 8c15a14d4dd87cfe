"""Each mask that a model in service draws, seen where it is drawn and counted by site."""

import math
import threading
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

from dropkit.errors import GuardError
from dropkit.nn._layer import Layer
from dropkit.serving._guarded import Action, GuardedSite, GuardRecord
from dropkit.sites.caller import Caller, find_caller
from dropkit.sites.calls import Call, Steer
from dropkit.sites.labels import Labels
from dropkit.sites.patterns import matches
from dropkit.sites.replaced import current_call


class _Seen:
    """A place that drew, as it is counted."""

    def __init__(self, rate: float | None, now: str) -> None:
        self.rate, self.count, self.first, self.last = rate, 0, now, now


class _Forwards(threading.local):
    """The forwards that run in this thread: the generator's state before each, and what it drew."""

    def __init__(self) -> None:
        self.open: list[tuple[torch.Tensor, list[str]]] = []


class Counts:
    """What all threads count together. It does not keep the model alive."""

    def __init__(self, model: nn.Module, action: Action, allow: Sequence[str]) -> None:
        self.action, self.allow = action, allow
        self.kind = type(model).__name__
        self.modules = weakref.WeakSet(model.modules())
        self.labels = Labels(model)
        self.lock = threading.Lock()
        self.here = _Forwards()
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        with self.lock:
            self.since = _now()
            self.forwards = self.in_training_mode = self.with_draws = self.moved_generator = 0
            self.sites: dict[tuple[str, str, str | None], _Seen] = {}

    def draws(self, caller: Caller, function: str, rate: float | None) -> None:
        """Count a mask that is about to be drawn, and stop it if that is asked for.

        Raises:
            GuardError: It is.
        """
        module = caller.module
        where = None if caller.line is None else str(caller.line)
        with self.lock:
            source = self.labels.own_source(module)
            if source is None and rate is not None:
                source = self.labels.source_with(module, rate)
            name = self.labels.name_of(caller, function, source)
            if self.allow and matches(self.allow, name):
                return
            now = _now()
            seen = self.sites.setdefault((name, function, where), _Seen(rate, now))
            seen.count, seen.last = seen.count + 1, now
        for _, drawn in self.here.open:
            drawn.append(name)
        if self.action == "raise":
            at = "" if rate is None else f" at rate {rate:g}"
            line = f" ({where})" if where else ""
            mode = "; it is in training mode, so call `eval()`" if module.training else ""
            raise GuardError(
                f"a model in service must draw no mask; {function} was about to draw one{at} at "
                f"site {name!r}{line}{mode}. `dropkit.freeze` makes a model that cannot."
            )

    def record(self) -> GuardRecord:
        """What was seen so far."""
        with self.lock:
            sites = tuple(
                GuardedSite(*key[:2], seen.rate, key[2], seen.count, seen.first, seen.last)
                for key, seen in self.sites.items()
            )
            return GuardRecord(
                self.kind,
                self.action,
                self.since,
                _now(),
                self.forwards,
                self.in_training_mode,
                self.with_draws,
                self.moved_generator,
                sites,
            )


class Looking(Steer):
    """Sees each call that draws, as all other steers have left it."""

    sees_last = True

    def __init__(self, state: Counts) -> None:
        self._state = state

    def see(self, call: Call) -> None:
        """Report a call of the model that is to draw."""
        if call.draws:
            caller = find_caller(self._state.modules)
            if caller is not None:
                rate = float(call.rate)
                self._state.draws(caller, call.function, None if math.isnan(rate) else rate)

    def see_numbers(self, function: str, out: Any) -> None:
        """Report uniform numbers that the model's own code asks for.

        A single one only in training mode: some models draw one for each layer, and look at it
        only then.
        """
        if current_call() is None:
            caller = find_caller(self._state.modules)
            if caller is None or isinstance(caller.module, Layer):
                return
            if out.numel() > 1 or caller.module.training:
                self._state.draws(caller, function, None)

    def must_see(self, call: Call) -> bool:
        """A call that draws may be the model's."""
        return call.draws


class _Hook:
    """A hook that a copy of the model, or one that is loaded, has no use for."""

    def __init__(self, state: Counts) -> None:
        self._state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return _Nothing, ()


class _Nothing:
    """A hook that does nothing."""

    def __call__(self, *_: object) -> None:
        """Nothing."""


class LayerHook(_Hook):
    """In front of dropkit's own layers, which no function stands for."""

    def __call__(self, module: Layer, _: object) -> None:
        """Report it if it is to draw."""
        if module.training and module.p > 0.0 and not torch.compiler.is_compiling():
            caller = find_caller(self._state.modules)
            line = None if caller is None else caller.line
            self._state.draws(Caller(module, line), type(module).__name__, float(module.p))


class Enter(_Hook):
    """In front of the model."""

    def __call__(self, module: nn.Module, _: object) -> None:
        """Count the forward, and note where torch's generator stands."""
        if torch.compiler.is_compiling():
            return
        state = self._state
        with state.lock:
            state.forwards += 1
            state.in_training_mode += module.training
        state.here.open.append((torch.default_generator.get_state(), []))


class Leave(_Hook):
    """Behind the model, also where it has raised."""

    def __call__(self, _module: nn.Module, _args: object, _out: object) -> None:
        """See whether the generator has moved."""
        state = self._state
        if torch.compiler.is_compiling() or not state.here.open:
            return
        before, drawn = state.here.open.pop()
        has_moved = not drawn and not torch.equal(before, torch.default_generator.get_state())
        if drawn or has_moved:
            with state.lock:
                state.with_draws += len(drawn) > 0
                state.moved_generator += has_moved


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
