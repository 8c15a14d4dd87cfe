"""Programs of ``torch.export``."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from dropkit.auditing.artefacts.artefact import DRAW, OURS, Artefact, LeftOver, left_over
from dropkit.core.rate import STEPS
from dropkit.sites.caller import Line

_FRAME = re.compile(r'File "(.+?)", line (\d+)')
_TORCH = str(Path(torch.__file__).parent)


def read_exported(program: ExportedProgram) -> Artefact:
    """The operators that draw, in the program and in the graphs that its conditions choose from."""
    nodes = [
        node
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if node.op == "call_function"
    ]
    return Artefact("ExportedProgram", tuple(_left_over(nodes)), len(nodes))


def _left_over(nodes: list[Any]) -> Iterator[LeftOver]:
    for node in nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        site = stack[-1][0] if stack else node.name
        if schema.name in OURS:  # each takes a mask, and is not called without one
            yield LeftOver(site, schema.name.replace("::", "."), _our_rate(node), _where(node))
            continue
        name = schema.name.rpartition("::")[2]
        given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        given |= {a.name: value for a, value in zip(schema.arguments, node.args, strict=False)}
        found = left_over(site, name, given | node.kwargs, _where(node))
        if found is not None:
            yield found


def _our_rate(node: Any) -> float | None:
    """That of the mask that is drawn for `node`; None where a mask was handed in."""
    for source in node.all_input_nodes:
        if getattr(source.target, "_schema", None) is None:
            continue
        if source.target._schema.name == DRAW and isinstance(source.args[0], int):  # noqa: SLF001 - no public name
            return source.args[0] / STEPS
    return None


def _where(node: Any) -> str | None:
    """The innermost line that is not torch's."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [Line(file, int(number)) for file, number in frames if not file.startswith(_TORCH)]
    return str(own[-1]) if own else None
