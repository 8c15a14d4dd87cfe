"""The model to serve as a program of ``torch.export``, without the operators that do nothing."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from dropkit.auditing.artefacts.artefact import OURS
from dropkit.serving._answers import Arguments

_IDLE = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}


def without_cache(model: nn.Module, arguments: Arguments) -> tuple[Arguments, bool]:
    """The arguments for an export, and whether they turn a model's cache off.

    Language models of transformers hand on keys and values in an object that no graph can hold.
    """
    args, kwargs = arguments
    config = getattr(model, "config", None)
    has_cache = getattr(config, "use_cache", False) is True and "use_cache" not in kwargs
    if has_cache and "use_cache" in inspect.signature(model.forward).parameters:
        return (args, {**kwargs, "use_cache": False}), True
    return arguments, False


def program_of(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], dynamic_shapes: Any = None
) -> tuple[ExportedProgram, int]:
    """`model` exported in eval mode, and how many calls of dropout that draw nothing were cut out.

    Raises:
        Exception: Whatever ``torch.export.export`` raises for a model that it cannot take.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # on how the model is written, which is not ours to mend
        program = torch.export.export(model, args, dict(kwargs), dynamic_shapes=dynamic_shapes)
    return program, _cut_idle(program)


def dropout_operators(program: ExportedProgram) -> list[str]:
    """The nodes of a program that are calls of dropout, whether they draw or not."""
    return [
        node.name
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if _name_of(node) in (*_IDLE, "native_dropout", "bernoulli") or _is_ours(node)
    ]


def _cut_idle(program: ExportedProgram) -> int:
    """Take out each call of dropout that hands its input on, and say how many there were."""
    n_cut = 0
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        is_root = module is program.graph_module
        for node in list(module.graph.nodes):
            if not _is_idle(node):
                continue
            source = node.args[0]
            node.replace_all_uses_with(source)
            if is_root:
                for spec in program.graph_signature.output_specs:
                    if getattr(spec.arg, "name", None) == node.name:
                        spec.arg.name = source.name
            module.graph.erase_node(node)
            n_cut += 1
        module.graph.lint()
        module.recompile()
    return n_cut


def _is_idle(node: torch.fx.Node) -> bool:
    if _name_of(node) not in _IDLE:
        return False
    given = dict(zip(("input", "p", "train"), node.args, strict=False)) | dict(node.kwargs)
    return given.get("train") is False or bool(given.get("p") == 0.0)


def _is_ours(node: torch.fx.Node) -> bool:
    return getattr(getattr(node.target, "_schema", None), "name", None) in OURS


def _name_of(node: torch.fx.Node) -> str | None:
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.name.startswith("aten::"):
        return None
    return str(schema.name).removeprefix("aten::").removesuffix("_")


def first_line(error: Exception) -> str:
    """Class and first line of an error of torch's, without the stop."""
    first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
