"""A frozen model as an ONNX file, checked by onnxruntime."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from dropkit.auditing.artefacts.onnx import read_onnx
from dropkit.errors import FreezeError, MissingExtraError
from dropkit.serving._answers import Arguments
from dropkit.serving._program import first_line


def onnx_of(
    program: torch.export.ExportedProgram, arguments: Arguments, names: list[str]
) -> tuple[bytes, dict[str, Tensor], int]:
    """A program as the bytes of an ONNX file, and what onnxruntime answers.

    Args:
        program: Of ``torch.export``.
        arguments: Of its call.
        names: Of its outputs.

    Raises:
        MissingExtraError: onnx, onnxruntime or onnxscript is not installed.
        FreezeError: It cannot be written in ONNX's operators, or holds one that draws.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - belongs to an extra
        import onnxscript  # noqa: F401, PLC0415 - likewise; torch's exporter needs it
    except ImportError as error:
        message = "an ONNX file needs onnxruntime and onnxscript: pip install 'dropkit[onnx]'."
        raise MissingExtraError(message) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            with warnings.catch_warnings(), _quiet():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    program, (), path, dynamo=True, external_data=False, verbose=False
                )
        except Exception as error:
            raise FreezeError(
                f"`model` must be one that torch.onnx can take; it raised {first_line(error)}."
            ) from error
        artefact = read_onnx(path)
        if artefact.left_over:
            site = artefact.left_over[0].site
            raise FreezeError(f"the ONNX graph must hold no dropout; {site!r} draws.")
        data = path.read_bytes()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    args, kwargs = arguments
    tensors = [x for x in tree_leaves((args, dict(kwargs))) if isinstance(x, Tensor)]
    found = session.run(None, _fed(session, tensors, kwargs))
    outputs = [torch.as_tensor(x) for x in found]
    return data, dict(zip(names, outputs, strict=False)), artefact.n_operators


def _fed(session: Any, tensors: list[Tensor], kwargs: Any) -> dict[str, Any]:
    """The inputs by the names that the graph has for them."""
    inputs = session.get_inputs()
    by_name = {name: x for name, x in kwargs.items() if isinstance(x, Tensor)}
    if all(one.name in by_name for one in inputs):
        return {one.name: by_name[one.name].cpu().numpy() for one in inputs}
    return {one.name: x.cpu().numpy() for one, x in zip(inputs, tensors, strict=True)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without a line for each operator of torchvision's that the exporter does not find."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
