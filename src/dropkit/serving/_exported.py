"""A frozen model as a file: written, read again, looked through and compared."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from dropkit.core.files import write_bytes
from dropkit.errors import FreezeError, OptionError
from dropkit.serving._answers import Arguments, answers, copied, difference, tensors_of
from dropkit.serving._onnx import onnx_of
from dropkit.serving._program import first_line, program_of, without_cache

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """A file that was written, read again and compared.

    Attributes:
        path: Of the file.
        kind: ``"ExportedProgram"`` or ``"ONNX"``.
        difference: Greatest absolute difference to the frozen model, on the batch.
        tolerance: What was allowed, relative to the greatest absolute answer, at least 1.
        operators: How many there are, none of them dropout.
    """

    path: str
    kind: str
    difference: float
    tolerance: float
    operators: int

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


def export_frozen(
    model: nn.Module, arguments: Arguments, path: Path, dynamic_shapes: Any, tolerance: float
) -> Exported:
    """Write `model` to `path`, if what was written answers as it does; see `Frozen.export`."""
    if path.suffix not in (".pt2", ".onnx"):
        raise OptionError(f"`path` must end in .pt2 or .onnx; got {str(path)!r}.")
    if not path.parent.is_dir():
        raise OptionError(f"`path` must lie in a folder that exists; got {str(path.parent)!r}.")
    if not tolerance >= 0.0:  # nan fails this too
        raise OptionError(f"`tolerance` must be at least 0; got {tolerance!r}.")
    wanted = answers(model, arguments)
    arguments, _ = without_cache(model, arguments)
    args, kwargs = copied(arguments)
    try:
        program, _ = program_of(model, args, kwargs, dynamic_shapes)
    except Exception as error:
        raise FreezeError(
            f"`model` must be one that torch.export can take; it raised {first_line(error)}."
        ) from error
    if path.suffix == ".onnx":
        kind = "ONNX"
        data, found, n_operators = onnx_of(program, copied(arguments), list(wanted))
    else:
        kind = "ExportedProgram"
        data, found, n_operators = _pt2_of(program, copied(arguments))
    off, allowed = difference(wanted, found), tolerance * max(1.0, *map(_size, wanted.values()))
    if not off <= allowed:
        raise FreezeError(
            f"the {kind} file must answer as the model does; it differs by up to {off:.3g}, and "
            f"{allowed:.3g} is allowed. Nothing was written."
        )
    write_bytes(path, data)
    return Exported(str(path), kind, off, tolerance, n_operators)


def _size(x: Tensor) -> float:
    """The greatest finite value, its sign left out."""
    finite = x[x.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0


def _pt2_of(program: ExportedProgram, arguments: Arguments) -> tuple[bytes, dict[str, Tensor], int]:
    """The program as bytes, and what it answers once it is read again."""
    file = io.BytesIO()
    try:
        torch.export.save(program, file)
        again = torch.export.load(io.BytesIO(file.getvalue()))
    except Exception as error:
        raise FreezeError(
            f"`model` must be one that torch.export can save and load; it raised "
            f"{first_line(error)}."
        ) from error
    args, kwargs = arguments
    with torch.no_grad():
        output = again.module()(*args, **kwargs)
    n_operators = sum(node.op == "call_function" for node in again.graph.nodes)
    return file.getvalue(), tensors_of(output), n_operators
