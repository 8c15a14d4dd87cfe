"""A model that has no dropout left, with the proof, and the ways to hand it over."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dropkit.serving._answers import Arguments
from dropkit.serving._exported import TOLERANCE, Exported, export_frozen
from dropkit.serving._removal import Removed
from dropkit.serving._saved import save_frozen


@dataclass(frozen=True)
class IdleCall:
    """A call of a function that could drop, and draws nothing in the served model.

    Attributes:
        site: Name of the place.
        function: That is called.
        rate: It is called with in the original, in [0, 1].
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

        A model of transformers also gets its ``config.json``, and ``generation_config.json`` if
        it generates, so that ``from_pretrained`` reads the folder. The proof holds the weights' SHA-256; it is written last, so that a folder with
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
        self, path: str | Path, *, dynamic_shapes: Any = None, tolerance: float = TOLERANCE
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
        return export_frozen(self.model, self._arguments, Path(path), dynamic_shapes, tolerance)
