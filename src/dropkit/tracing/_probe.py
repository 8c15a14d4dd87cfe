"""A few numbers of each site while a model trains, cheap enough to be taken on the way."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.sites.calls import Call
from dropkit.sites.replaced import ReplacedFunctions
from dropkit.sites.sources import Source, find_sources
from dropkit.sites.steering import NamedSteer

#: Elements that are looked at in a call: the first ones.
_PART = 1 << 14
#: Modules that drop inside, and do other things too: their calls of functions are looked at.
_ALSO = (nn.MultiheadAttention, nn.RNNBase)


@dataclass
class Sums:
    """Of the elements of one site that were looked at in one step."""

    rate: float = math.nan
    n: int = 0
    before: float = 0.0
    squares_before: float = 0.0
    squares_after: float = 0.0
    n_nonzero: int = 0
    n_dropped: int = 0
    gradient: float = 0.0
    gradient_kept: float = 0.0

    def numbers(self) -> dict[str, float]:
        """What is kept of them; what cannot be told is left out."""
        found = {"rate": self.rate, "zero_before": 1.0 - self.n_nonzero / max(self.n, 1)}
        if self.n_nonzero:
            found["measured_rate"] = self.n_dropped / self.n_nonzero
        mean = self.before / max(self.n, 1)
        found["mean_before"] = mean
        found["deviation_before"] = math.sqrt(
            max(self.squares_before / max(self.n, 1) - mean**2, 0)
        )
        found["scale_after"] = math.sqrt(self.squares_after / max(self.n, 1))
        if self.gradient > 0.0:
            found["gradient_scale"] = math.sqrt(self.gradient / max(self.n, 1))
            found["gradient_kept"] = math.sqrt(self.gradient_kept / self.gradient)
        return {key: value for key, value in found.items() if math.isfinite(value)}


class Probe:
    """Looks at the sites of a model from when it is made until it is closed.

    Args:
        model: Any module.

    Attributes:
        sites: Sums by name, in the order a forward meets them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.sites: dict[str, Sums] = {}
        self._stack = contextlib.ExitStack()
        hooked: set[nn.Module] = set()
        for source in find_sources(model):
            if source.is_whole and not isinstance(source.module, _ALSO):
                hooked.add(source.module)
                hooks = _Hooks(self, source)
                self._stack.callback(source.module.register_forward_pre_hook(hooks.before).remove)
                self._stack.callback(source.module.register_forward_hook(hooks.after).remove)
        self._stack.enter_context(ReplacedFunctions(model, _Calls(model, self, hooked)))

    def close(self) -> None:
        """Look no longer."""
        self._stack.close()

    def look(self, name: str, rate: float, before: Tensor | None, out: object) -> None:
        """Take in one call."""
        if before is None or not isinstance(out, Tensor) or not out.is_floating_point():
            return
        sums = self.sites.setdefault(name, Sums())
        sums.rate = rate
        after = _part(out)
        if after.numel() != before.numel():
            return
        sums.n += before.numel()
        sums.before += float(before.sum())
        sums.squares_before += float(before.square().sum())
        sums.squares_after += float(after.square().sum())
        had = before != 0
        dropped = had & (after == 0)
        sums.n_nonzero += int(had.sum())
        sums.n_dropped += int(dropped.sum())
        if out.requires_grad and not out.is_leaf:

            def note(gradient: Tensor) -> None:
                squares = _part(gradient).square() * had
                sums.gradient += float(squares.sum())
                sums.gradient_kept += float(squares.masked_fill(dropped, 0.0).sum())

            out.register_hook(note)


def _part(x: Tensor) -> Tensor:
    return x.detach().reshape(-1)[:_PART].float()


def _copied(args: Any) -> Tensor | None:
    x = args[0] if isinstance(args, tuple) and args else args
    if not isinstance(x, Tensor) or not x.is_floating_point() or torch.compiler.is_compiling():
        return None
    return _part(x).clone()  # a site may write to its input


class _Hooks:
    def __init__(self, probe: Probe, source: Source) -> None:
        self._probe, self._source = probe, source
        self._open: list[Tensor | None] = []

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._open.append(_copied(args) if module.training else None)

    def after(self, _: nn.Module, __: Any, out: Any) -> None:
        if self._open:
            self._probe.look(self._source.name, self._source.rate, self._open.pop(), out)


class _Calls(NamedSteer):
    sees_last = True

    def __init__(self, model: nn.Module, probe: Probe, hooked: set[nn.Module]) -> None:
        super().__init__(model)
        self._probe = probe
        self._hooked = {self.labels.names[module] for module in hooked}

    def decide(self, call: Call, name: str, source: Source | None, *, is_whole: bool) -> None:
        """Note a call that draws and whose module is not looked at as a whole."""
        if not call.draws or (is_whole and source is not None and source.name in self._hooked):
            return
        if not call.function.startswith("bernoulli"):
            call.note = name, call.rate, _copied(call.input)

    def after(self, call: Call, out: Any) -> Any:
        """Look at what it gave."""
        if isinstance(call.note, tuple):
            name, rate, before = call.note
            self._probe.look(name, rate, before, out)
        return out
