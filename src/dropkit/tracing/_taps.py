"""Look at what enters and leaves each site, whether it is a module or a call of a function."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.sites.calls import Call, Steer
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.sources import find_sources
from dropkit.tracing._runs import Runs

#: Modules that drop inside, and do other things too: their calls of functions are looked at.
_ALSO = (nn.MultiheadAttention, nn.RNNBase)


class Tap:
    """What is done at the calls of sites; `x` is what is dropped, for attention the query."""

    def before(self, name: str, x: Tensor) -> Any:
        """Look at an input; what this returns is handed to `after`."""

    def after(self, name: str, x: Tensor, out: Tensor, note: Any) -> Tensor:
        """Look at an output, and return what the site is to give."""
        del name, x, note
        return out


@contextlib.contextmanager
def tapped(runs: Runs, tap: Tap) -> Iterator[None]:
    """Inside the block `tap` sees the sites of `runs`; masks made by hand in other code are not.

    Layers are seen as they are called, so that it does not matter whose kernels they run on.
    """
    names = {site.name for site in runs.sites}
    with contextlib.ExitStack() as stack:
        whole = {
            source.module: source.name
            for source in find_sources(runs.model)
            if source.is_whole and source.name in names and not isinstance(source.module, _ALSO)
        }
        for module, name in whole.items():
            hooks = _Hooks(tap, name)
            stack.callback(module.register_forward_pre_hook(hooks.before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(hooks.after).remove)
        steer = _Calls(runs, tap, names, set(whole))
        stack.enter_context(ReplacedFunctions(runs.model, steer))
        yield


class _Hooks:
    def __init__(self, tap: Tap, name: str) -> None:
        self._tap, self._name = tap, name
        self._open: list[tuple[Tensor, Any]] = []

    def before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
        x = torch.zeros(0) if x is None else x
        self._open.append((x, self._tap.before(self._name, x)))

    def after(self, _: nn.Module, __: Any, out: Any) -> Any:
        x, note = self._open.pop()
        return self._tap.after(self._name, x, out, note) if isinstance(out, Tensor) else out


class _Calls(Steer):
    sees_last = True

    def __init__(self, runs: Runs, tap: Tap, names: set[str], hooked: set[nn.Module]) -> None:
        self._runs, self._tap, self._names, self._hooked = runs, tap, names, hooked

    def see(self, call: Call) -> None:
        """Note a call of one of the sites."""
        if isinstance(call.input, Tensor) and not call.function.startswith("bernoulli"):
            found = self._runs.site_now()
            if found is not None and found[0] in self._names and found[1] not in self._hooked:
                call.note = found[0], self._tap.before(found[0], call.input)

    def after(self, call: Call, out: Any) -> Any:
        """Hand on what it gave."""
        if call.note is None or not isinstance(out, Tensor):
            return out
        name, note = call.note
        return self._tap.after(name, call.input, out, note)
