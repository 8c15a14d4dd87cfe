"""A watch on a model in service: no forward may draw a mask."""

import contextlib
import json
import math
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import torch
from torch import nn

from dropkit.core.files import write_text
from dropkit.errors import GuardError, OptionError
from dropkit.nn._layer import Layer
from dropkit.sites.caller import Caller, find_caller
from dropkit.sites.calls import Call, Steer
from dropkit.sites.labels import Labels
from dropkit.sites.patterns import matches
from dropkit.sites.replaced import ReplacedFunctions, current_call
from dropkit.uncertainty._sampling import uncompiled

Action = Literal["raise", "count"]


@dataclass(frozen=True)
class GuardedSite:
    """A place that drew while it was guarded.

    Attributes:
        site: Name of the place.
        function: What drew.
        rate: Drop rate; None where it cannot be seen.
        where: ``file:line`` of the call in the model's own code; where that is torch's alone, of
            the call of the model.
        count: How often.
        first: When first, in UTC, as ISO 8601 has it.
        last: When last, likewise.
    """

    site: str
    function: str
    rate: float | None
    where: str | None
    count: int
    first: str
    last: str

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


@dataclass(frozen=True)
class GuardRecord:
    """What a guard has seen so far.

    Attributes:
        model: Class of the model.
        action: ``"raise"`` or ``"count"``.
        since: When the guard was set, in UTC, as ISO 8601 has it.
        until: When this was read, likewise.
        forwards: Calls of the model.
        in_training_mode: How many of them while the model was in training mode.
        with_draws: How many of them drew.
        moved_generator: How many of them drew nothing that was seen, and yet torch's generator
            stood elsewhere behind them: another thread drew, or code that ``torch.jit`` or C made.
        sites: The places that drew.
    """

    model: str
    action: str
    since: str
    until: str
    forwards: int
    in_training_mode: int
    with_draws: int
    moved_generator: int
    sites: tuple[GuardedSite, ...]

    @property
    def is_clean(self) -> bool:
        """Whether no mask was seen."""
        return not self.sites

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, with the format's name and version."""
        head = {"format": "dropkit guard", "version": 1, "is_clean": self.is_clean}
        return head | asdict(self)


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


class Guard:
    """What `guard` gives: reads what was seen, and ends with `undo`.

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
        self._state = state = _State(uncompiled(model), action, allow)
        self._steps = contextlib.ExitStack()
        inner = uncompiled(model)
        self._steps.enter_context(ReplacedFunctions(inner, _Looking(state)))
        for module in inner.modules():
            if isinstance(module, Layer):
                hook = module.register_forward_pre_hook(_LayerHook(state))
                self._steps.callback(hook.remove)
        enter = model.register_forward_pre_hook(_Enter(state), prepend=True)
        leave = model.register_forward_hook(_Leave(state), always_call=True)
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

    def undo(self) -> None:
        """Leave the model alone; a second call does nothing. The record stays."""
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()


class _Seen:
    """A place that drew, as it is counted."""

    def __init__(self, rate: float | None, now: str) -> None:
        self.rate, self.count, self.first, self.last = rate, 0, now, now


class _Forwards(threading.local):
    """The forwards that run in this thread: the generator's state before each, and what it drew."""

    def __init__(self) -> None:
        self.open: list[tuple[torch.Tensor, list[str]]] = []


class _State:
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


class _Looking(Steer):
    """Sees each call that draws, as all other steers have left it."""

    sees_last = True

    def __init__(self, state: _State) -> None:
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

    def __init__(self, state: _State) -> None:
        self._state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return _Nothing, ()


class _Nothing:
    """A hook that does nothing."""

    def __call__(self, *_: object) -> None:
        """Nothing."""


class _LayerHook(_Hook):
    """In front of dropkit's own layers, which no function stands for."""

    def __call__(self, module: Layer, _: object) -> None:
        """Report it if it is to draw."""
        if module.training and module.p > 0.0 and not torch.compiler.is_compiling():
            caller = find_caller(self._state.modules)
            line = None if caller is None else caller.line
            self._state.draws(Caller(module, line), type(module).__name__, float(module.p))


class _Enter(_Hook):
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


class _Leave(_Hook):
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
