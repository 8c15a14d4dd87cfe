"""TorchScript, scripted or traced."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dropkit.auditing.artefacts.artefact import DRAW, OURS, Artefact, LeftOver, left_over
from dropkit.core.rate import STEPS
from dropkit.sites.caller import Line

#: What a value is where the graph alone does not tell.
_UNKNOWN = object()
_TORCH = str(Path(torch.__file__).parent)
_RANGE = re.compile(r'File "(.+?)", line (\d+)')


def read_scripted(module: torch.jit.ScriptModule) -> Artefact:
    """The operators that draw in `module` as it is: in its mode, and past its conditions on that."""
    reader = _Reader(module)
    found = tuple(reader.block(module.inlined_graph))
    return Artefact("TorchScript", found, reader.n_operators)


class _Reader:
    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self._module = module
        self.n_operators = 0

    def block(self, block: Any) -> Iterator[LeftOver]:
        """What is left over in a block, and in those within that may run."""
        for node in block.nodes():
            self.n_operators += 1
            if node.kind() == "prim::If":
                yield from self._condition(node)
                continue
            for inner in node.blocks():  # of loops
                yield from self.block(inner)
            if node.kind() in OURS:  # each takes a mask, and is not called without one
                name = node.kind().replace("::", ".")
                yield LeftOver(_scope(node), name, self._our_rate(node), _where(node))
            elif node.kind().startswith("aten::"):
                found = self._operator(node)
                if found is not None:
                    yield found

    def _condition(self, node: Any) -> Iterator[LeftOver]:
        """The branch that is taken; where that is not sure, neither."""
        then, otherwise = node.blocks()
        condition = self._value(next(node.inputs()))
        if condition is True:
            yield from self.block(then)
        elif condition is False:
            yield from self.block(otherwise)

    def _operator(self, node: Any) -> LeftOver | None:
        name = node.kind().removeprefix("aten::")
        if "dropout" not in name and "bernoulli" not in name and not _is_whole_layer(name):
            return None
        schema = torch._C.parse_schema(node.schema())  # noqa: SLF001 - the only way to the names
        names = [argument.name for argument in schema.arguments]
        values = [self._value(value) for value in node.inputs()]
        given = dict(zip(names, values, strict=False))
        owner = self._mode_of(node)
        site = None if owner is None else self._path(owner)
        return left_over(_scope(node) if site is None else site, name, given, _where(node))

    def _our_rate(self, node: Any) -> float | None:
        """That of the mask that is drawn for `node`; None where a mask was handed in."""
        for value in node.inputs():
            if value.node().kind() == DRAW:
                threshold = self._value(next(value.node().inputs()))
                return threshold / STEPS if isinstance(threshold, int) else None
        return None

    def _mode_of(self, node: Any) -> Any:
        """The value that holds the module whose mode the operator asks for."""
        for value in node.inputs():
            maker = value.node()
            if maker.kind() == "prim::GetAttr" and maker.s("name") == "training":
                return next(maker.inputs())
        return None

    def _value(self, value: Any) -> Any:
        maker = value.node()
        if maker.kind() == "prim::Constant":
            return value.toIValue()
        if maker.kind() == "aten::__not__":
            inner = self._value(next(maker.inputs()))
            return not inner if isinstance(inner, bool) else _UNKNOWN
        if maker.kind() == "prim::GetAttr":
            owner = self._owner(next(maker.inputs()))
            return _UNKNOWN if owner is None else getattr(owner, maker.s("name"), _UNKNOWN)
        return _UNKNOWN

    def _owner(self, value: Any) -> Any:
        """The module, or other object, that a value of the graph is; None where it is none."""
        path = self._path(value)
        if path is None:
            return None
        found: Any = self._module
        for name in filter(None, path.split(".")):
            found = getattr(found, name, None)
        return found

    def _path(self, value: Any) -> str | None:
        maker = value.node()
        if maker.kind() == "prim::Param":
            return ""
        if maker.kind() != "prim::GetAttr":
            return None
        outer = self._path(next(maker.inputs()))
        return None if outer is None else f"{outer}.{maker.s('name')}".lstrip(".")


def _is_whole_layer(name: str) -> bool:
    return name in ("lstm", "gru", "rnn_tanh", "rnn_relu") or "scaled_dot_product" in name


def _where(node: Any) -> str | None:
    """The innermost line that is not torch's."""
    found = [x for x in _RANGE.findall(node.sourceRange()) if not x[0].startswith(_TORCH)]
    return str(Line(found[-1][0], int(found[-1][1]))) if found else None


def _scope(node: Any) -> str:
    """Path of the module that a traced operator was called in."""
    name = str(node.scopeName()).rpartition("/")[2]
    return name.removeprefix("__module").lstrip(".")
