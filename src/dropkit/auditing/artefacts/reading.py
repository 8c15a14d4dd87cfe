"""From what a user hands over to what is read of it."""

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from dropkit.auditing.artefacts.artefact import Artefact
from dropkit.auditing.artefacts.exported import read_exported
from dropkit.auditing.artefacts.onnx import read_onnx
from dropkit.auditing.artefacts.scripted import read_scripted
from dropkit.errors import DataError, OptionError

#: Endings of the files that can be read.
ENDINGS = (".onnx", ".pt2")


def read_artefact(model: Any) -> Artefact | None:
    """What an exported model holds; None where `model` is none.

    Args:
        model: A program of ``torch.export``, a TorchScript module, or the path of an ``.onnx`` or
            ``.pt2`` file.

    Raises:
        OptionError: The path has another ending, or there is no such file.
        DataError: The file cannot be read.
        MissingExtraError: The file is ONNX's, and onnx is not installed.
    """
    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.suffix not in ENDINGS:
            raise OptionError(
                f"`model` must be a module, an exported program, or a file that ends in "
                f"{' or '.join(ENDINGS)}; got {str(model)!r}."
            )
        if not path.is_file():
            raise OptionError(f"`model` must be a file that exists; got {str(model)!r}.")
        return read_onnx(path) if path.suffix == ".onnx" else read_exported(_loaded(path))
    if isinstance(model, ExportedProgram):
        return read_exported(model)
    if isinstance(model, torch.jit.ScriptModule):
        return read_scripted(model)
    return None


def _loaded(path: Path) -> ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:  # it raises whatever the archive's parts do
        raise DataError(
            f"`model` must be a program that `torch.export.save` wrote; {str(path)!r} cannot be "
            "read."
        ) from error
