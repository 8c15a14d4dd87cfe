"""Follows what is dropped through the operators of a run."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from dropkit.auditing.drops import Drop, sample, sample_sizes
from dropkit.auditing.flow import Edge, Flow, Trails, merged
from dropkit.auditing.operations import base_name, bits_of, kind_of
from dropkit.sites.watch import Draws, Event, Run

#: Edges to operators of these kinds are noted.
STOPS = frozenset(
    {"batch_norm", "norm", "linear", "softmax", "max_pool", "argmax", "attention", "recurrent"}
    | {"loss", "reduce", "dropout", "pool"}
)
_DROP_IN_ONE = {"native_dropout", "_fused_dropout"}
_DROP_IN_ONE |= {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}
#: So many tensors that one place drops are measured.
_MEASURED = 4
#: Names a storage; None where a tensor has none.
Key = int | None


class Tracing(Draws):
    """Notes the draws, where each mask is applied, and what the result reaches.

    Tensors are told by their storage, so that views and what is written in place belong to it.
    Storages are not kept alive.

    Args:
        seen: Gets the events.
        modules: Of the model.
        stack: The modules whose forward is running, the innermost last.
    """

    def __init__(
        self, seen: Run, modules: Container[nn.Module], stack: Sequence[nn.Module]
    ) -> None:
        super().__init__(seen, modules)
        self.flow = Flow()
        self.drops: list[Drop] = []
        self.is_forward = True
        self._stack = stack
        self._alive: dict[Key, StorageWeakRef] = {}  # its address does not come again
        self._trails: dict[Key, Trails] = {}
        self._masks: dict[Key, Event] = {}
        self._made_by: dict[Key, str] = {}
        self._factors: dict[Key, float] = {}
        self._fresh: dict[Key, Drop] = {}

    def ran(self, operator: Any, args: tuple[Any, ...], out: Any, event: Event | None) -> None:
        """Follow what came in to what came out."""
        if not self.is_forward:
            return
        name = base_name(operator.name())
        inputs = [x for x in tensors_in(args) if x.dim() or event is not None]
        outputs = list(tensors_in(out))
        if event is not None and self._starts(name, operator, inputs, outputs, event):
            return
        masks = [self._masks[k] for k in map(key_of, inputs) if k in self._masks]
        if masks and self._applies(name, inputs, outputs, masks[0]):
            return
        self._goes_on(name, args, inputs, outputs)

    def _starts(
        self,
        name: str,
        operator: Any,
        inputs: list[Tensor],
        outputs: list[Tensor],
        event: Event,
    ) -> bool:
        """An operator that draws: it makes a mask, or drops in one."""
        if not outputs:
            return True  # a single decision, read off as a number
        if name in _DROP_IN_ONE:
            self._dropped(event, inputs[0], outputs[0], inputs)
        elif kind_of(name) in ("attention", "recurrent"):
            self._dropped(event, None, outputs[0], inputs)
        elif not operator.name().startswith("aten::") and name != "words":
            floats = [x for x in inputs if x.is_floating_point()]
            x = next((x for x in floats if x.shape == outputs[0].shape), None)
            is_attention = "attention" in name or "attn" in name
            self._dropped(event, None if is_attention else x, outputs[0], inputs)
        else:
            for y in outputs:
                self._keep(y, self._masks, event)
        return True

    def _applies(
        self, name: str, inputs: list[Tensor], outputs: list[Tensor], event: Event
    ) -> bool:
        """An operator that is given a mask: it changes the mask, or applies it."""
        others = [x for x in inputs if key_of(x) not in self._masks]
        if not outputs:
            return True
        if not others:
            for y in outputs:
                self._keep(y, self._masks, event)
            return True
        data = [x for x in others if x.is_floating_point()]
        if not data or kind_of(name) not in ("multiply", "elementwise", "add", "other"):
            return False
        origin = self.flow.origin(event.caller)
        after = bits_of({"elementwise", "scale", "add", "shape"})
        for x in data:  # the second half of an affine mask, as in alpha dropout
            paths = self._trails.get(key_of(x), {}).get(origin, ())
            if kind_of(name) == "add" and any(path | after == after for path in paths):
                return False
        self._dropped(event, data[0], outputs[0], data)
        return True

    def _dropped(self, event: Event, x: Tensor | None, y: Tensor, inputs: Sequence[Tensor]) -> None:
        origin = self.flow.origin(event.caller)
        came = [self._trails[k] for k in map(key_of, inputs) if k in self._trails]
        for trails in came:
            self._meets(trails, "dropout", to=origin)
        drop = Drop(event, origin, tuple(y.shape), None, None, has_grad=_has_grad(inputs))
        drop.in_no_grad = not torch.is_grad_enabled()
        if x is not None:
            drop.made_by = self._made_by.get(key_of(x), "other")
            drop.scale_before = self._factors.get(key_of(x), 1.0)
            n_before = sum(other.origin == origin for other in self.drops)
            is_same = x.shape == y.shape and key_of(x) != key_of(y)
            if n_before < _MEASURED and is_same:
                sizes = sample_sizes(x)
                drop.x, drop.y = sample(x, sizes), sample(y, sizes)
        self.drops.append(drop)
        trails = merged(came, bits_of({"dropout"}))
        trails[origin] = (0,)
        self._keep(y, self._trails, trails)
        self._keep(y, self._fresh, drop)
        self._keep(y, self._made_by, "dropout")

    def _goes_on(
        self, name: str, args: tuple[Any, ...], inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        kind, factor = self._kind(name, args, inputs)
        if factor is not None:
            self.flow.factors[self._stack[-1] if self._stack else None, factor] += 1
        keys = [key_of(x) for x in inputs]
        came = [self._trails[k] for k in keys if k in self._trails]
        if kind in STOPS:
            for one in came:
                self._meets(one, kind, name=name)
        trails = merged(came, bits_of({kind})) if came else None
        for y in outputs:
            key = key_of(y)
            if key is None:
                continue
            if key in keys and kind == "shape" and name != "copy":
                continue  # a view of what is known already
            self._hand_on(y, keys, kind, factor)
            if trails is not None:
                self._keep(y, self._trails, trails)
            elif key in self._trails and key not in keys:
                del self._trails[key]

    def _hand_on(self, y: Tensor, keys: list[Key], kind: str, factor: float | None) -> None:
        """What is known of the last step, beside the trails."""
        first = keys[0] if keys else None
        if kind == "shape":
            made = self._made_by.get(first)
            if made is not None:
                self._keep(y, self._made_by, made)
        else:
            self._keep(y, self._made_by, kind)
            if factor is None:  # written in place
                self._factors.pop(key_of(y), None)
                self._fresh.pop(key_of(y), None)
        if factor is not None:
            self._keep(y, self._factors, factor)
            if first in self._fresh:
                self._fresh[first].scale_after *= factor
                self._keep(y, self._fresh, self._fresh[first])

    def _kind(
        self, name: str, args: tuple[Any, ...], inputs: list[Tensor]
    ) -> tuple[str, float | None]:
        """The kind, by the arguments where the name does not tell, and the factor of a scaling."""
        kind = kind_of(name)
        if kind not in ("add", "multiply") or len(inputs) > 1:
            if len(inputs) > 1 and any(isinstance(x, nn.Parameter) for x in inputs):
                return ("elementwise" if kind in ("add", "multiply") else kind), None
            return kind, None
        if kind == "add":
            return "elementwise", None
        number = args[1] if len(args) > 1 and len(inputs) == 1 else None
        if isinstance(number, Tensor):
            number = None if number.dim() or number.is_meta else number.item()
        if isinstance(number, (int, float)) and args[0] is inputs[0]:
            if name == "div":
                return "scale", (1.0 / number if number else None)
            return "scale", float(number)
        return "scale", None

    def _meets(self, trails: Trails, kind: str, *, to: int = -1, name: str = "") -> None:
        module = self._stack[-1] if self._stack else None
        again = 0 if kind in ("batch_norm", "dropout") else bits_of({kind})
        for origin, paths in trails.items():
            for path in paths:
                if not path & again:
                    self.flow.add(Edge(origin, kind, path, module, to, name))

    def reaches_output(self, name: str, x: Tensor) -> None:
        """Note the edges to an output of the model."""
        self._note_output(name, self._trails.get(key_of(x), {}))

    def _note_output(self, name: str, trails: Trails) -> None:
        for origin, paths in trails.items():
            for path in paths:
                self.flow.add(Edge(origin, "output", path, None, -1, name))

    def _keep(self, x: Tensor, where: dict[Key, Any], value: Any) -> None:
        key = key_of(x)
        if key is not None:
            if key not in self._alive:
                self._alive[key] = StorageWeakRef(x.untyped_storage())
            where[key] = value


def key_of(x: Tensor) -> Any:
    """Names the storage of a tensor while it lives; None for a tensor that has none."""
    try:
        return x.untyped_storage()._cdata  # noqa: SLF001 - data pointers of empty tensors are equal
    except (NotImplementedError, RuntimeError):
        return None


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in the arguments of an operator, or in what it returns."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_in(part)


def _has_grad(inputs: Sequence[Tensor]) -> bool:
    return any(x.requires_grad for x in inputs)
