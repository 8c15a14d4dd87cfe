"""The functions that drop, replaced while someone wants to see, steer or speed up their calls.

A model may reach them as ``F.dropout``, as ``torch.dropout`` or, after ``from ... import``, by a
name of its own file. All of these are replaced, and put back when the last who needs it leaves.
A call then passes the steers that are set, which may change its rate, and goes on to torch, or to
what stands in for torch.
"""

import contextlib
import functools
import inspect
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit import functional
from dropkit.core.counted import Counted
from dropkit.core.traced_names import answered_while_tracing
from dropkit.sites.calls import Call, Function, Slot, Steer
from dropkit.sites.draws import rate_of_keep
from dropkit.sites.expected import expected_bernoulli
from dropkit.sites.renamed import Renamed


class _State(threading.local):
    call: Call | None = None


_state = _State()
_steers: list[Steer] = []
_stand_ins: dict[Function, Function] = {}


def active_steers() -> tuple[Steer, ...]:
    """The steers that see calls now."""
    return tuple(_steers)


def current_call() -> Call | None:
    """The call that is running in this thread, None outside of any."""
    return _state.call


def _passed(
    theirs: Function,
    call: Call,
    rate: Slot,
    gate: Slot | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Let the steers see a call, and make it as they left it; in Python where one must see it."""
    if not torch.compiler.is_compiling():
        return _seen(theirs, call, rate, gate, args, kwargs)
    if any([steer.must_see(call) for steer in _steers]):  # noqa: C419 - compilers know lists
        _make_in_python()
        return _in_python(theirs, call, rate, gate, args, kwargs)
    return _run(theirs, args, kwargs)


def _seen(
    theirs: Function,
    call: Call,
    rate: Slot,
    gate: Slot | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    before = call.rate, call.is_training
    for steer in reversed(_steers):
        steer.see(call)
    if (call.rate, call.is_training) != before:
        asked = call.rate if call.is_training else 0.0
        args, kwargs = rate.write(args, kwargs, call.rate if gate else asked)
        if gate:
            args, kwargs = gate.write(args, kwargs, call.is_training)
    return _run_within(call, theirs, args, kwargs)


#: `_seen`, at which a compiler leaves its graph; made when one first comes by.
_in_python: Function = _seen


@answered_while_tracing
def _make_in_python() -> None:
    # Not before it is needed: it imports the whole compiler.
    global _in_python  # noqa: PLW0603 - once a process is what is meant
    if _in_python is _seen:
        reason = "dropkit sets the rates of single calls in this model, by their names"
        _in_python = torch.compiler.disable(_seen, reason=reason)


def _run_within(call: Call, theirs: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    outer, _state.call = _state.call, call
    try:
        out = _run(theirs, args, kwargs)
    finally:
        _state.call = outer
    for steer in reversed(_steers):
        out = steer.after(call, out)
    return out


def _is_detour(name: str, x: Any) -> bool:
    """Whether torch calls itself again: a default device is a mode that each function asks first."""
    outer = None if torch.compiler.is_compiling() else _state.call
    return outer is not None and outer.function == name and outer.input is x


def _run(theirs: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    stand_in = _stand_ins.get(theirs)
    return theirs(*args, **kwargs) if stand_in is None else stand_in(*args, **kwargs)


def _replacement(theirs: Function, rate: Slot, gate: Slot | None) -> Function:
    name = theirs.__name__

    @functools.wraps(theirs)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        if not _steers:
            return _run(theirs, args, kwargs)
        p = rate.read(args, kwargs)
        is_training = bool(gate.read(args, kwargs)) if gate else p > 0.0
        x = args[0] if args else next(iter(kwargs.values()))
        if _is_detour(name, x):
            return _run(theirs, args, kwargs)
        call = Call(name, p, is_training, gate is not None, x)
        return _passed(theirs, call, rate, gate, args, kwargs)

    return replaced


def _recurrent(theirs: Function) -> Function:
    """``torch.lstm`` and the like, whose arguments stand one later for packed sequences."""
    name = theirs.__name__

    @functools.wraps(theirs)
    def replaced(*args: Any) -> Any:
        if not _steers:
            return _run(theirs, args, {})
        at = 5 + isinstance(args[3], (list, tuple))
        n_layers, p, is_training = args[at - 1 : at + 2]
        call = Call(name, p if n_layers > 1 else 0.0, is_training, True, args[0])
        slots = Slot(at, "dropout", 0.0), Slot(at + 1, "train", False)
        return _passed(theirs, call, *slots, args, {})

    return replaced


def _bernoulli(theirs: Function) -> Function:
    """``torch.bernoulli``, ``Tensor.bernoulli`` and ``Tensor.bernoulli_``: masks made by hand."""
    name = theirs.__name__
    chance = Slot(1, "p", 0.5 if name == "bernoulli_" else None)

    @functools.wraps(theirs)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        if not _steers or torch.compiler.is_compiling():
            return _run(theirs, args, kwargs)
        keep = chance.read(args, kwargs)
        if _is_detour(name, args[0]):
            return _run(theirs, args, kwargs)
        call = Call(name, rate_of_keep(keep), True, False, args[0])
        for steer in reversed(_steers):
            steer.see(call)
        if not call.draws:
            return expected_bernoulli(args[0], keep, is_in_place=name == "bernoulli_")
        return _run_within(call, theirs, args, kwargs)

    return replaced


def _uniform(theirs: Function) -> Function:
    """``torch.rand`` and the like: no steer knows what such numbers are for, or changes them."""
    name = theirs.__name__

    @functools.wraps(theirs)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        out = _run(theirs, args, kwargs)
        if _steers and not torch.compiler.is_compiling():
            for steer in reversed(_steers):
                steer.see_numbers(name, out)
        return out

    return replaced


def _replacements() -> Iterator[tuple[Any, str, Function, Function]]:
    """(holder, name, theirs, replacement) of each function that drops."""
    p = Slot(1, "p", 0.5)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
        theirs = getattr(F, name)
        yield F, name, theirs, _replacement(theirs, p, Slot(2, "training", True))
    for name in ("alpha_dropout", "feature_alpha_dropout"):
        theirs = getattr(F, name)
        yield F, name, theirs, _replacement(theirs, p, Slot(2, "training", False))
    theirs = F.scaled_dot_product_attention
    yield F, theirs.__name__, theirs, _replacement(theirs, Slot(4, "dropout_p", 0.0), None)
    for stem in ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"):
        for name in (stem, f"{stem}_"):
            theirs = getattr(torch, name)
            yield torch, name, theirs, _replacement(theirs, p, Slot(2, "train", True))
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        theirs = getattr(torch, name)
        yield torch, name, theirs, _recurrent(theirs)
        yield torch._VF, name, theirs, _recurrent(theirs)  # noqa: SLF001 - what nn.RNNBase calls
    yield torch, "bernoulli", torch.bernoulli, _bernoulli(torch.bernoulli)
    for name in ("bernoulli", "bernoulli_"):
        yield Tensor, name, getattr(Tensor, name), _bernoulli(getattr(Tensor, name))
    for name in ("rand", "rand_like"):
        yield torch, name, getattr(torch, name), _uniform(getattr(torch, name))
    yield Tensor, "uniform_", Tensor.uniform_, _uniform(Tensor.uniform_)
    for name in functional.__all__:
        theirs = getattr(functional, name)
        slots = _slots(theirs)
        if slots is not None:
            yield functional, name, theirs, _replacement(theirs, *slots)


def _slots(theirs: Function) -> tuple[Slot, Slot | None] | None:
    """Where dropkit's own functions have rate and mode; None for one that has no rate."""
    found: dict[str, Slot] = {}
    for position, (name, parameter) in enumerate(inspect.signature(theirs).parameters.items()):
        found[name] = Slot(position, name, parameter.default)
    rate = next((found[name] for name in ("p", "drop_prob", "dropout_p") if name in found), None)
    return None if rate is None else (rate, found.get("training"))


#: Each place of a replaced function: (holder, name, theirs, replacement).
PLACES = tuple(_replacements())
_by_theirs = {theirs: replacement for _, _, theirs, replacement in PLACES}
_ours = {replacement for _, _, _, replacement in PLACES}


def name_of_replaced(value: Any) -> str | None:
    """The name of a function that drops, whether it is replaced now or not; None for another.

    So it is for a ``functools.partial`` of one.
    """
    while isinstance(value, functools.partial):
        value = value.func
    if inspect.isroutine(value) and (value in _by_theirs or value in _ours):
        return str(value.__name__)
    return None


class _Replaced(Counted):
    def begin(self, stack: contextlib.ExitStack) -> None:
        _show_compilers_what_is_there()
        for holder, name, theirs, replacement in PLACES:
            is_own = name in vars(holder)
            setattr(holder, name, replacement)
            if is_own:
                stack.callback(setattr, holder, name, theirs)
            else:
                stack.callback(delattr, holder, name)


def _show_compilers_what_is_there() -> None:
    """Let torch's compiler learn its functions before they are replaced.

    When it first compiles anything it looks them up by name, once a process: what it finds then it
    takes for torch's own, and what it does not find it cannot compile from then on.
    """
    from torch._dynamo import trace_rules  # noqa: PLC0415 - a second that not everybody waits for

    trace_rules.get_torch_obj_rule_map()


_replaced = _Replaced()


def _replaced_in(value: Any) -> Function | None:
    """The replacement of one of theirs, or of a ``functools.partial`` of one; None for another."""
    if isinstance(value, functools.partial):
        ours = _replaced_in(value.func)
        return None if ours is None else functools.partial(ours, *value.args, **value.keywords)
    return _by_theirs.get(value) if inspect.isroutine(value) else None


_renamed = Renamed(_replaced_in)


class ReplacedFunctions:
    """From now on, until it is closed or left as a ``with`` block, the functions are replaced.

    Args:
        model: Also where the files of its classes have names of their own for them. When the
            model is gone, this is closed.
        steer: Sees every call of the process. It may not keep the model alive.
    """

    def __init__(self, model: nn.Module | None = None, steer: Steer | None = None) -> None:
        self._names = [] if model is None else _renamed.begin(model)
        self._steer = steer
        self._is_open = True
        _replaced.__enter__()
        if steer is not None:
            _steers.insert(0 if steer.sees_last else len(_steers), steer)
        self._at_the_models_end: weakref.finalize[..., nn.Module] | None = None
        if model is not None:
            self._at_the_models_end = weakref.finalize(model, self.close)
            self._at_the_models_end.atexit = False

    def close(self) -> None:
        """Put everything back; a second call does nothing."""
        if self._is_open:
            self._is_open = False
            if self._at_the_models_end is not None:
                self._at_the_models_end.detach()  # it would keep the steer, and what that keeps
            if self._steer is not None:
                _steers.remove(self._steer)
            _replaced.__exit__()
            _renamed.end(self._names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stand_in(theirs: Function, ours: Function) -> None:
    """From now on `ours` runs where a replaced `theirs` is called."""
    _stand_ins[theirs] = ours
