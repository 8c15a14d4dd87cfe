"""Watch one run of a model: every call that drops, every mask that is drawn, and where."""

import contextlib
import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dropkit.core.counted import Counted
from dropkit.errors import OptionError
from dropkit.nn import LayerDrop
from dropkit.sites.caller import Caller, find_caller, run
from dropkit.sites.draws import COMPARISONS, HANDED_ON, UNIFORM, Draw, draw_of
from dropkit.sites.replaced import Call, ReplacedFunctions, Steer, current_call


@dataclass(slots=True)
class Event:
    """One call of a function that drops, or one draw outside of any.

    Attributes:
        caller: The innermost module of the model whose code was running, and the line.
        function: Name of the function or operator.
        rate: Drop rate asked for; nan where it could not be seen.
        is_training: Whether the call was to draw.
        n_draws: How many masks were drawn.
        elements: Elements of what was dropped; for attention those of the probabilities.
    """

    caller: Caller
    function: str
    rate: float
    is_training: bool
    n_draws: int = 0
    elements: int = 0


@dataclass
class Run:
    """What was seen of one run.

    Attributes:
        output: Of the model.
        events: In the order they happened.
        n_calls: How often each module was called.
    """

    output: Any = None
    events: list[Event] = field(default_factory=list)
    n_calls: dict[nn.Module, int] = field(default_factory=dict)


def watch(
    model: nn.Module,
    batch: Any,
    *,
    draws: Callable[[Run, Container[nn.Module]], "Draws"] | None = None,
    then: Callable[[Run], None] | None = None,
) -> Run:
    """Run `model` on `batch` in the mode that it is in, and say what was dropped.

    The model runs uncompiled. What a run changes stays changed: see `untouched`.

    Args:
        model: Any module.
        batch: One batch; see `arguments_of`.
        draws: Makes what follows the operators of the run, if it is to see more than draws.
        then: Called behind the forward, while the run is still watched; for a backward.

    Raises:
        OptionError: `batch` is of another kind.
    """
    args, kwargs = arguments_of(batch)
    seen = Run()
    modules = set(model.modules())
    steer, mode = _Watching(seen, modules), (draws or Draws)(seen, modules)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_uncompiled)
        stack.enter_context(ReplacedFunctions(model, steer))
        stack.enter_context(_counted_calls(model, seen))
        stack.enter_context(mode)
        seen.output = run(model, args, kwargs)
        if then is not None:
            then(seen)
    return seen


class _Uncompiled(Counted):
    """The stance is the process's, and each who sets it puts back what there was before."""

    def begin(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(torch.compiler.set_stance("force_eager"))


_uncompiled = _Uncompiled()


def arguments_of(batch: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """How a model is called with `batch`: a tensor, a tuple or list of arguments, or a mapping.

    Raises:
        OptionError: It is none of these.
    """
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, (tuple, list)):
        return tuple(batch), {}
    if isinstance(batch, Mapping) or (hasattr(batch, "keys") and hasattr(batch, "__getitem__")):
        return (), {str(key): batch[key] for key in batch.keys()}  # noqa: SIM118 - BatchEncoding
    raise OptionError(
        "`batch` must be a tensor, a tuple of arguments, or a mapping of names to arguments; "
        f"got a {type(batch).__name__}."
    )


class _Watching(Steer):
    """Notes each call of a function that drops."""

    sees_last = True

    def __init__(self, seen: Run, modules: Container[nn.Module]) -> None:
        self._seen, self._modules = seen, modules

    def see(self, call: Call) -> None:
        """Note it, and hang the note on the call, for the draws that it leads to."""
        caller = find_caller(self._modules)
        if caller is not None:
            call.note = Event(caller, call.function, float(call.rate), call.is_training)
            self._seen.events.append(call.note)
            if call.rate == 1.0:  # torch drops all without a draw, and there were nothing to see
                call.rate = 1.0 - 2.0**-40


class Draws(TorchDispatchMode):
    """Notes each mask that is drawn: in the call that leads to it, or by itself.

    Args:
        seen: Gets the events.
        modules: Of the model.
    """

    def __init__(self, seen: Run, modules: Container[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen, self.modules = seen, modules
        self._uniform: dict[int, tuple[Tensor, Event]] = {}  # alive, so that no id comes again

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        draw = draw_of(func, args, kwargs)
        event = None
        if draw is not None and not self._is_only_uniform(draw):
            event = self._note(draw)
        out = func(*args, **kwargs)
        made = self._follow(func.name(), args, out)
        self.ran(func, args, out, event or made)
        if event is not None and isinstance(event.caller.module, LayerDrop):
            return torch.ones_like(out)  # a layer that is left out would hide the sites in it
        return out

    def ran(self, operator: Any, args: tuple[Any, ...], out: Any, event: Event | None) -> None:
        """See an operator that has run, and the event whose mask it has drawn, if any."""

    def _is_only_uniform(self, draw: Draw) -> bool:
        """Whether these are numbers of the core of which a model makes a mask by hand, or none."""
        if draw.function not in UNIFORM or current_call() is not None:
            return False
        caller = find_caller(self.modules)
        return caller is not None and not type(caller.module).__module__.startswith("dropkit.")

    def _note(self, draw: Draw) -> Event | None:
        call = current_call()
        event = None if call is None else call.note
        if event is None:
            event = self._event(draw)
        if event is not None:
            event.n_draws += 1
            event.elements += draw.elements
        return event

    def _event(self, draw: Draw) -> Event | None:
        caller = find_caller(self.modules)
        if caller is None:
            return None
        event = Event(caller, draw.function, draw.rate, is_training=True)
        self.seen.events.append(event)
        return event

    def _follow(self, operator: str, args: tuple[Any, ...], out: Any) -> Event | None:
        """Uniform numbers that are compared with something are a mask made by hand."""
        name = operator.partition("::")[2].partition(".")[0]
        if name in UNIFORM and isinstance(out, Tensor):
            caller = find_caller(self.modules) if current_call() is None else None
            if caller is not None:
                event = Event(caller, name, math.nan, is_training=True, elements=out.numel())
                self._uniform[id(out)] = out, event
            return None
        used = [self._uniform[id(x)] for x in args if id(x) in self._uniform]
        for _, event in used:
            if name in HANDED_ON:
                self._uniform[id(out)] = out, event
            elif name in COMPARISONS and event.n_draws == 0:
                event.n_draws = 1
                self.seen.events.append(event)
                return event
        return None


def hookable(model: nn.Module) -> list[nn.Module]:
    """The modules that take hooks: those of TorchScript do not."""
    return [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]


@contextlib.contextmanager
def _counted_calls(model: nn.Module, seen: Run) -> Iterator[None]:
    def count(module: nn.Module, *_: Any) -> None:
        seen.n_calls[module] = seen.n_calls.get(module, 0) + 1

    handles = [module.register_forward_pre_hook(count) for module in hookable(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
