"""Exported models are read from files, too, and a file that is none is told in one sentence."""

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import dropkit
from dropkit.errors import DataError, MissingExtraError, OptionError


def node(kind: str, *inputs: str, **attributes: Any) -> Any:
    """From ``x`` and further inputs to ``y``."""
    return helper.make_node(kind, ["x", *inputs], ["y"], name="block/drop", **attributes)


def constant(name: str, value: Any) -> Any:
    """A tensor that the file holds."""
    return onnx.numpy_helper.from_array(np.array(value), name)


def saved(folder: Path, version: int, nodes: list[Any], *constants: Any) -> Path:
    """A model of these nodes, in a file."""
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"]
    graph = helper.make_graph(nodes, "net", sizes[:1], sizes[1:], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


ON, OFF = constant("mode", True), constant("mode", False)
RATE = constant("rate", np.float32(0.25))


@pytest.mark.parametrize(
    ("version", "nodes", "constants", "rates"),
    [
        (13, [node("Dropout", "rate", "mode")], [RATE, ON], [0.25]),
        (13, [node("Dropout", "", "mode")], [ON], [0.5]),
        (13, [node("Dropout", "rate", "mode")], [RATE, OFF], []),
        (13, [node("Dropout", "rate", "mode")], [constant("rate", np.float32(0)), ON], []),
        (13, [node("Dropout", "rate")], [RATE], []),
        (13, [node("Dropout")], [], []),
        (15, [node("Bernoulli")], [], [None]),
        (10, [node("Dropout", ratio=0.25)], [], []),
        (6, [node("Dropout", ratio=0.25)], [], [0.25]),
        (6, [node("Dropout", ratio=0.25, is_test=1)], [], []),
        (13, [node("Identity")], [], []),
    ],
)
def test_onnx(tmp_path: Path, version: int, nodes: Any, constants: Any, rates: list[Any]) -> None:
    """Dropout is found where its version of ONNX draws, at its rate."""
    audit = dropkit.audit(saved(tmp_path, version, nodes, *constants))
    assert rates == [finding.evidence["rate"] for finding in audit.findings]
    assert all(one.site == "block/drop" for one in audit.findings)
    assert ("ONNX", 1) == (audit.facts["model"], audit.facts["operators"])


def test_onnx_mode_from_outside(tmp_path: Path) -> None:
    """A mode that whoever runs the model gives is not held against it."""
    audit = dropkit.audit(saved(tmp_path, 13, [node("Dropout", "", "asked")]))
    assert () == audit.findings


def test_onnx_constant_node_and_inner_graph(tmp_path: Path) -> None:
    """A mode may be a node, and the dropout in the branch of a condition."""
    mode = helper.make_node("Constant", [], ["mode"], value=ON)
    drop = helper.make_node("Dropout", ["x", "", "mode"], ["z"], name="inner")
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])
    branch = helper.make_graph([drop], "branch", [], [out])
    choice = helper.make_node("If", ["asked"], ["y"], then_branch=branch, else_branch=branch)
    audit = dropkit.audit(saved(tmp_path, 13, [mode, choice]))
    assert ["inner", "inner"] == [finding.site for finding in audit.findings]


def test_saved_program(tmp_path: Path) -> None:
    """What ``torch.export.save`` wrote is read; no batch is needed."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.25))
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(model, (torch.ones(2, 3),)), path)
    [finding] = dropkit.audit(path).findings
    assert ("DRP701", "1", 0.25) == (finding.code, finding.site, finding.evidence["rate"])
    assert not finding.proved


def exported(model: nn.Module, x: torch.Tensor) -> Any:
    """By ``torch.export``."""
    return torch.export.export(model, (x,))


def traced(model: nn.Module, x: torch.Tensor) -> Any:
    """By ``torch.jit.trace``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what a trace fixes
        return torch.jit.trace(model, x, check_trace=False)


# What has a mask of another shape than its input torch.jit.trace itself cannot take.
@pytest.mark.parametrize(
    ("write", "layer", "function"),
    [
        (exported, dropkit.nn.Dropout, "dropkit.dropout"),
        (exported, dropkit.nn.Dropout1d, "dropkit.apply_noise"),
        (exported, dropkit.nn.DropPath, "dropkit.apply_noise"),
        (traced, dropkit.nn.Dropout, "dropkit.dropout"),
    ],
)
def test_our_own_layers(write: Any, layer: Any, function: str) -> None:
    """What dropkit's layers leave in a graph is named as torch's is, with its rate."""
    model, x = nn.Sequential(nn.Linear(4, 4), layer(0.25)), torch.ones(2, 3, 4)
    [finding] = dropkit.audit(write(model.train(), x)).findings
    assert ("DRP701", "1") == (finding.code, finding.site)
    assert {"function": function, "rate": 0.25}.items() <= finding.evidence.items()
    assert () == dropkit.audit(write(model.eval(), x)).findings


def test_rules_that_looked() -> None:
    """Only those on serving look at what is not run."""
    program = torch.export.export(nn.Linear(3, 3), (torch.ones(2, 3),))
    audit = dropkit.audit(program)
    assert (("DRP701",), ()) == (audit.rules, audit.findings)
    assert {"model": "ExportedProgram", "sites": 0}.items() <= audit.facts.items()


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("model.onnx", DataError, "`model` must be an ONNX file; {path!r} cannot be read."),
        (
            "model.pt2",
            DataError,
            "`model` must be a program that `torch.export.save` wrote; {path!r} cannot be read.",
        ),
        (
            "model.bin",
            OptionError,
            "`model` must be a module, an exported program, or a file that ends in .onnx or .pt2; "
            "got {path!r}.",
        ),
    ],
)
def test_file_that_is_none(tmp_path: Path, name: str, kind: type[Exception], message: str) -> None:
    """One sentence each."""
    path = tmp_path / name
    path.write_bytes(b"nothing")
    with pytest.raises(kind, match="^" + re.escape(message.format(path=str(path))) + "$"):
        dropkit.audit(path)


def test_onnx_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    path = saved(tmp_path, 13, [node("Identity")])
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = "reading an ONNX file needs onnx: pip install 'dropkit[onnx]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        dropkit.audit(path)


def test_what_is_no_model() -> None:
    """A class is named."""
    message = "`model` must be a module or an exported model; got a function."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropkit.audit(node, torch.ones(2))
