"""What a model computes before its first mask, once for all sub-networks.

Whatever has been computed when the first mask is drawn cannot depend on any mask. So the results of
the modules that were done by then are kept in the first pass, and in later passes, on the same
batch, these modules hand out what they gave.
"""

import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from dropkit.core.scope import current_scope
from dropkit.uncertainty._repeated import made, repeated

_PLAIN = (int, float, complex, str, bytes, torch.dtype, torch.device, type(None))
#: Which call of which module: the call that it is made in, the module, how many were before it.
_Key = tuple[Any, int, int]


class GeneratorState:
    """Where the generators of torch stand that a model may draw from."""

    def __init__(self, model: nn.Module) -> None:
        parameters = (*model.parameters(), *model.buffers())
        self._devices = sorted({x.device.index or 0 for x in parameters if x.is_cuda})
        self._states = self._now()

    def has_moved(self) -> bool:
        """Whether a number was drawn since this was made."""
        return not all(map(torch.equal, self._states, self._now()))

    def _now(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]


class _Seen(NamedTuple):
    tensor: Tensor
    version: int

    @classmethod
    def of(cls, tensor: Tensor) -> "_Seen":
        return cls(tensor, tensor._version)  # noqa: SLF001 - the count of writes has no public name

    def is_as_it_was(self) -> bool:
        return self.tensor._version == self.version  # noqa: SLF001 - likewise


@dataclass
class _Kept:
    """What a call gave.

    Attributes:
        value: The result.
        seen: The tensors in it as they were.
        is_copied: Whether the model writes to them later, so that each pass needs copies.
        is_ready: Whether `value` may be handed out.
    """

    value: Any
    seen: list[_Seen]
    is_copied: bool = False
    is_ready: bool = True


class Prefix:
    """Hands out what modules gave before the first mask of the first pass.

    A call is made all the same where more than tensors, numbers and texts go in or come out, and
    where it writes to its input; the calls within it may be saved. What a module does besides
    giving a result, it does in the first pass.

    Args:
        model: Runs under `masks_at`, on the same arguments in each pass, while this is entered.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._kept: dict[_Key, _Kept] = {}
        self._is_first, self._is_over = True, False
        self._n, self._times = 1, 1
        self._stack: list[tuple[_Key | None, Counter[int]]] = []
        self._steps = contextlib.ExitStack()
        self.has_drawn = False
        #: Whether the last first pass drew numbers of torch's generators.
        self.moved_generators = False

    def __enter__(self) -> Self:
        for module in self._model.modules():
            if module is not self._model and not isinstance(module, torch.jit.ScriptModule):
                _wrap(module, self._call, self._steps)
        return self

    def __exit__(self, *_: object) -> None:
        self._steps.close()
        self._kept.clear()

    def forget(self) -> None:
        """The next pass is on other arguments, and is a first one."""
        self.__exit__()
        self._is_first = True
        self.__enter__()

    @contextlib.contextmanager
    def a_pass(self, n: int = 1, times: int = 1) -> Iterator[None]:
        """Inside the block the model runs once, under names that nothing has been drawn under yet.

        Args:
            n: How many examples the first pass had.
            times: How often this pass has all of them, one after another; once in the first.
        """
        self._n, self._times = n, times
        self._stack = [(None, Counter())]
        self._is_over = False
        if self._is_first:
            self._generators = GeneratorState(self._model)
        yield
        if self._is_first:
            self._look()
            self.moved_generators = self._generators.has_moved()
            self._is_first = False
        if not self._kept:  # the first mask is drawn at once
            self._steps.close()

    def _look(self) -> bool:
        """Whether nothing was drawn in this pass so far."""
        scope = current_scope()
        if not self._is_over and (
            (scope is not None and scope.snapshot())
            or (self._is_first and self._generators.has_moved())
        ):
            self._is_over = self.has_drawn = True
        return not self._is_over

    def _call(
        self,
        module: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        if self._is_over:
            return forward(*args, **kwargs)
        outer, counts = self._stack[-1]
        key = (outer, id(module), counts[id(module)])
        counts[id(module)] += 1
        kept = self._kept.get(key)
        if kept is not None and kept.is_ready and not kept.is_copied:
            kept.is_ready = all(seen.is_as_it_was() for seen in kept.seen)
        if self._times > 1:
            if kept is not None and kept.is_ready:
                return repeated(kept.value, self._n, self._times)
            return self._inside(key, forward, made(args), made(dict(kwargs)))
        if kept is not None and kept.is_ready:
            return _copied(kept.value) if kept.is_copied else _again(kept.value)
        if kept is None and not self._is_first:
            return self._inside(key, forward, args, kwargs)
        given = [_Seen.of(x) for x in _tensors((*args, *kwargs.values())) or ()]
        out = self._inside(key, forward, args, kwargs)
        self._keep(key, kept, out, (*args, *kwargs.values()), given)
        return out

    def _inside(
        self,
        key: _Key,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        self._stack.append((key, Counter()))
        try:
            return forward(*args, **kwargs)
        finally:
            self._stack.pop()

    def _keep(
        self, key: _Key, before: _Kept | None, out: Any, given: Any, seen: list[_Seen]
    ) -> None:
        """Keep what a call gave, if it may stand for the call; the calls in it are then done with."""
        tensors = _tensors(out)
        if tensors is None or _tensors(given) is None or not self._look():
            return
        if not all(x.is_as_it_was() for x in seen):
            return
        if before is not None:  # the model wrote to it, and will again
            self._kept[key] = _Kept(_copied(out), [], is_copied=True)
        else:
            self._kept[key] = _Kept(_again(out), [_Seen.of(x) for x in tensors])
            for inner in [inner for inner in self._kept if _is_within(inner, key)]:
                del self._kept[inner]


def _is_within(inner: _Key | None, outer: _Key) -> bool:
    while inner is not None:
        inner = inner[0]
        if inner == outer:
            return True
    return False


def _wrap(module: nn.Module, call: Callable[..., Any], steps: contextlib.ExitStack) -> None:
    own = vars(module).get("forward")
    forward = module.forward

    def instead(*args: Any, **kwargs: Any) -> Any:
        return call(module, forward, args, kwargs)

    module.forward = instead
    if own is None:
        steps.callback(delattr, module, "forward")
    else:
        steps.callback(setattr, module, "forward", own)


def _tensors(value: Any) -> list[Tensor] | None:
    """All tensors in `value`; None where there is more in it than tensors, numbers and texts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, _PLAIN):
        return []
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, tuple):
        return None
    found: list[Tensor] = []
    for part in value:
        inner = _tensors(part)
        if inner is None:
            return None
        found += inner
    return found


def _again(value: Any) -> Any:
    """`value` with dicts of its own: whoever gets it may write to them."""
    return copy.copy(value) if isinstance(value, Mapping) else value


def _copied(value: Any) -> Any:
    """`value` with tensors of its own, which keep what they share with each other."""
    return copy.deepcopy(value)
