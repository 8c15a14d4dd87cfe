"""A model that has no dropout left, with the proof, and the ways to hand it over."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dropkit.core.files import write_bytes
from dropkit.errors import FreezeError, OptionError
from dropkit.serving._answers import Arguments, answers, copied, difference, tensors_of
from dropkit.serving._program import program_of
from dropkit.serving._removal import Removed
from dropkit.serving._saved import save_frozen

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class IdleCall:
    """A call of a function that could drop, and draws nothing in the served model.

    Attributes:
        site: Name of the place.
        function: That is called.
        rate: It is called with, in [0, 1].
        where: ``file:line``, if the model's own code calls it.
    """

    site: str
    function: str
    rate: float
    where: str | None


@dataclass(frozen=True)
class Proof:
    """What was checked of a frozen model.

    Attributes:
        model: Its class.
        parameters: How many numbers it had to learn.
        removed: The places of dropout that it does not have any more.
        idle_calls: Calls of functions that could drop; each was watched, and drew nothing.
        outputs: Type and shape of each tensor that was compared, by name.
        is_equal_to_eval: Whether all of them equal the original's in eval mode, bit for bit.
        draws: Masks that were drawn in a watched run.
        operators: In the exported graph; None where there is none.
        dropout_operators: How many of them are calls of dropout, likewise.
        operators_cut: Calls of dropout that handed on their input, and were cut out of the graph.
        not_proved: Sentences on what could not be checked.
        torch: Version of torch.
    """

    model: str
    parameters: int
    removed: tuple[Removed, ...]
    idle_calls: tuple[IdleCall, ...]
    outputs: Mapping[str, str]
    is_equal_to_eval: bool
    draws: int
    operators: int | None = None
    dropout_operators: int | None = None
    operators_cut: int | None = None
    not_proved: tuple[str, ...] = ()
    torch: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, with the format's name and version."""
        return {"format": "dropkit freeze", "version": 1, **asdict(self)}


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


@dataclass(frozen=True, eq=False)
class Frozen:
    """What `freeze` makes.

    Attributes:
        model: To be served: in eval mode, without dropout.
        proof: What was checked.
    """

    model: nn.Module
    proof: Proof
    _arguments: Arguments = field(repr=False)

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``freeze.json`` to `folder`, both or neither.

        A model of transformers also gets its ``config.json``, so that ``from_pretrained`` reads
        the folder. The proof holds the weights' SHA-256; it is written last, so that a folder with
        a proof is whole. Into any other model the weights go by
        ``safetensors.torch.load_model(model, folder / "model.safetensors")``.

        Args:
            folder: Is made where it is missing. Files of these names are replaced.

        Returns:
            `folder`.

        Raises:
            MissingExtraError: safetensors is not installed.
            OptionError: `folder` is a file, or cannot be written to.
        """
        return save_frozen(self.model, self.proof.to_dict(), Path(folder))

    def export(
        self, path: str | Path, *, dynamic_shapes: Any = None, tolerance: float = _TOLERANCE
    ) -> Exported:
        """Write the model as a program of ``torch.export`` or as ONNX, and check what was written.

        The file is read again, looked through for dropout, and run on the batch that the model was
        frozen on: by torch, or by onnxruntime. Where it fails, nothing is left under `path`.

        Args:
            path: Ends in ``.pt2`` or ``.onnx``; its folder must exist.
            dynamic_shapes: As for ``torch.export.export``; None fixes the shapes of the batch.
            tolerance: Greatest allowed difference, relative to the greatest absolute answer (at
                least 1): other kernels round otherwise.

        Raises:
            FreezeError: The model cannot be exported, or the file answers otherwise.
            OptionError: `path` has another ending, or its folder is missing.
            MissingExtraError: onnx, onnxruntime or onnxscript is not installed.
        """
        path = Path(path)
        if path.suffix not in (".pt2", ".onnx"):
            raise OptionError(f"`path` must end in .pt2 or .onnx; got {str(path)!r}.")
        if not path.parent.is_dir():
            raise OptionError(
                f"`path` must lie in a folder that exists; got {str(path.parent)!r}."
            )
        if not tolerance >= 0.0:  # nan fails this too
            raise OptionError(f"`tolerance` must be at least 0; got {tolerance!r}.")
        args, kwargs = copied(self._arguments)
        try:
            program, _ = program_of(self.model, args, kwargs, dynamic_shapes)
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
            raise FreezeError(
                "`model` must be one that torch.export can take; it raised "
                f"{type(error).__name__}: {first}."
            ) from error
        wanted = answers(self.model, self._arguments)
        if path.suffix == ".onnx":
            from dropkit.serving._onnx import onnx_of  # noqa: PLC0415 - belongs to an extra

            data, found, n_operators = onnx_of(program, copied(self._arguments), list(wanted))
            kind = "ONNX"
        else:
            data, found, n_operators = _pt2_of(program, copied(self._arguments))
            kind = "ExportedProgram"
        off = difference(wanted, found)
        size = max([1.0, *(float(x[x.isfinite()].abs().max()) for x in wanted.values() if x.isfinite().any())])
        if not off <= tolerance * size:
            raise FreezeError(
                f"the {kind} file must answer as the model does; it differs by up to {off:.3g}, and "
                f"{tolerance * size:.3g} is allowed. Nothing was written."
            )
        write_bytes(path, data)
        return Exported(str(path), kind, off, tolerance, n_operators)


def _pt2_of(program: Any, arguments: Arguments) -> tuple[bytes, dict[str, torch.Tensor], int]:
    """The program as bytes, and what it answers once it is read again."""
    file = io.BytesIO()
    torch.export.save(program, file)
    data = file.getvalue()
    again = torch.export.load(io.BytesIO(data))
    args, kwargs = arguments
    with torch.no_grad():
        output = again.module()(*args, **kwargs)
    n_operators = sum(node.op == "call_function" for node in again.graph.nodes)
    return data, tensors_of(output), n_operators
