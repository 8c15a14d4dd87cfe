"""What `Frozen` writes is whole, is read back, and answers as the model does."""

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import FreezeError, MissingExtraError, OptionError
from dropkit.serving import Frozen, freeze
from support_models import MODELS

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def network() -> nn.Sequential:
    """Dropout, and a weight that two layers share."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


@pytest.fixture
def frozen() -> Frozen:
    """That, frozen."""
    return freeze(network(), X)


def test_save(frozen: Frozen, tmp_path: Path) -> None:
    """Weights and proof; the weights go into a fresh model of the same code."""
    safetensors = pytest.importorskip("safetensors.torch")
    folder = frozen.save(tmp_path / "served")
    assert ["freeze.json", "model.safetensors"] == sorted(one.name for one in folder.iterdir())
    proof = json.loads((folder / "freeze.json").read_text("utf-8"))
    weights = (folder / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == proof["sha256"]
    assert ("dropkit freeze", True, 0) == (
        proof["format"],
        proof["is_equal_to_eval"],
        proof["dropout_operators"],
    )
    other = network()
    nn.init.zeros_(other[0].weight)
    safetensors.load_model(other, folder / "model.safetensors")
    assert torch.equal(frozen.model(X), other.eval()(X))


def test_save_again(frozen: Frozen, tmp_path: Path) -> None:
    """Into the same folder: the files are replaced, and no draft is left."""
    pytest.importorskip("safetensors")
    for _ in range(2):
        frozen.save(tmp_path)
    assert ["freeze.json", "model.safetensors"] == sorted(one.name for one in tmp_path.iterdir())


def test_save_fails_whole(frozen: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk one sentence comes, and what was there before is whole."""
    safetensors = pytest.importorskip("safetensors.torch")
    frozen.save(tmp_path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}

    def full(_model: nn.Module, path: str, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors, "save_model", full)
    message = (
        f"`folder` must be one that can be written to; {str(tmp_path)!r} cannot: No space left on "
        "device."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        frozen.save(tmp_path)
    assert before == {one.name: one.read_bytes() for one in tmp_path.iterdir()}


def test_save_to_a_file(frozen: Frozen, tmp_path: Path) -> None:
    """A folder is asked for."""
    pytest.importorskip("safetensors")
    path = tmp_path / "file"
    path.touch()
    message = f"`folder` must be a folder or a new name; {str(path)!r} is a file."
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        frozen.save(path)


def test_save_for_transformers(tmp_path: Path) -> None:
    """``from_pretrained`` reads the folder; the config has no rate above 0 any more."""
    transformers = pytest.importorskip("transformers")
    entry = MODELS["bert, sdpa"]
    frozen = freeze(entry.build(), entry.batch)
    frozen.save(tmp_path)
    again = transformers.BertForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(entry.run(frozen.model).logits, entry.run(again.eval()).logits)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    rates = {name: value for name, value in config.items() if "drop" in name}
    assert {0.0} == set(rates.values())


@pytest.mark.parametrize("name", ["mlp", "functional", "nn.LSTM", "bert, sdpa"])
def test_export(name: str, tmp_path: Path) -> None:
    """A program of torch.export is written, has no dropout, and answers to the bit."""
    if "bert" in name:
        pytest.importorskip("transformers")
    entry = MODELS[name]
    done = freeze(entry.build(), entry.batch).export(tmp_path / "model.pt2")
    assert ("ExportedProgram", 0.0) == (done.kind, done.difference)
    assert () == dropkit.audit(tmp_path / "model.pt2").findings


@pytest.mark.parametrize(
    "name",
    [
        "functional",
        pytest.param("nn.LSTM", marks=pytest.mark.long),
        pytest.param("dropout2d after batch norm", marks=pytest.mark.long),
        pytest.param("bert, sdpa", marks=pytest.mark.long),
        pytest.param("gpt-2, sdpa", marks=pytest.mark.long),
    ],
)
def test_export_to_onnx(name: str, tmp_path: Path) -> None:
    """An ONNX file has no dropout, and onnxruntime answers within the tolerance."""
    for package in ("onnx", "onnxruntime", "onnxscript", "transformers"):
        pytest.importorskip(package)
    entry = MODELS[name]
    done = freeze(entry.build(), entry.batch).export(tmp_path / "model.onnx")
    assert "ONNX" == done.kind
    assert done.difference <= done.tolerance
    assert () == dropkit.audit(tmp_path / "model.onnx").findings


def test_export_for_any_batch(frozen: Frozen, tmp_path: Path) -> None:
    """Shapes that are said to vary do."""
    batch = torch.export.Dim("batch", min=2)
    frozen.export(tmp_path / "m.pt2", dynamic_shapes={"input": {0: batch}})
    model = torch.export.load(tmp_path / "m.pt2").module()
    assert torch.equal(frozen.model(X[:3]), model(X[:3]))


class Shifted(nn.Module):
    """Answers otherwise once it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        """A hundredth more in the graph."""
        return x + 0.01 * torch.compiler.is_exporting()


def test_export_compares(tmp_path: Path) -> None:
    """A file that answers otherwise is not left behind; a tolerance that is met lets it pass."""
    frozen = freeze(Shifted(), X)
    message = (
        "the ExportedProgram file must answer as the model does; it differs by up to 0.01, and "
        "0.0001 is allowed. Nothing was written."
    )
    with pytest.raises(FreezeError, match="^" + re.escape(message) + "$"):
        frozen.export(tmp_path / "m.pt2")
    assert [] == list(tmp_path.iterdir())
    assert frozen.export(tmp_path / "m.pt2", tolerance=0.02).difference > 0.009


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("{}/m.bin", {}, "`path` must end in .pt2 or .onnx; got '{}/m.bin'."),
        ("{}/no/m.pt2", {}, "`path` must lie in a folder that exists; got '{}/no'."),
        ("{}/m.pt2", {"tolerance": -1}, "`tolerance` must be at least 0; got -1."),
    ],
)
def test_export_bad_input(
    frozen: Frozen, tmp_path: Path, path: str, options: dict[str, float], message: str
) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(OptionError, match="^" + re.escape(message.format(tmp_path)) + "$"):
        frozen.export(path.format(tmp_path), **options)


def test_a_model_that_torch_cannot_export(tmp_path: Path) -> None:
    """It is named with what torch says."""

    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if x.sum() > 0 else x

    frozen = freeze(Branch(), X + 2)
    with pytest.raises(FreezeError, match=r"^`model` must be one that torch\.export can take; it"):
        frozen.export(tmp_path / "m.pt2")


@pytest.mark.long
def test_a_program_that_torch_cannot_read_back(tmp_path: Path) -> None:
    """It is not left behind; see docs/serving.md, which names this model."""
    pytest.importorskip("transformers")
    entry = MODELS["bart, sdpa"]
    frozen = freeze(entry.build(), entry.batch)
    message = r"^`model` must be one that torch\.export can save and load; it raised "
    with pytest.raises(FreezeError, match=message):
        frozen.export(tmp_path / "m.pt2")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "act", "message"),
    [
        (
            "safetensors.torch",
            lambda frozen, folder: frozen.save(folder),
            "saving a frozen model needs safetensors: pip install 'dropkit[serving]'.",
        ),
        (
            "onnxscript",
            lambda frozen, folder: frozen.export(folder / "m.onnx"),
            "an ONNX file needs onnxruntime and onnxscript: pip install 'dropkit[onnx]'.",
        ),
    ],
)
def test_missing_extras(
    frozen: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module, act, message
) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        act(frozen, tmp_path)
