"""A recorder keeps what passes the sites, leaves no trace in the model, and goes with trainers."""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit.errors import DataError, MissingExtraError, OptionError
from dropkit.sites.replaced import PLACES
from dropkit.tracing.compare import compare_runs, read_records
from support_models import MODELS

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")


def _model(rate: float = 0.3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 200), nn.ReLU(), nn.Dropout(rate), nn.Linear(200, 2))


def _train(recorder: dropkit.Recorder, model: nn.Module, steps: int) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        loss = model(torch.ones(16, 8)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recorder.step(loss=loss)
        losses.append(loss.item())
    return losses


def test_numbers(tmp_path: Path) -> None:
    """Rates, moments and the gradient's share are those of the mask; the file holds them all."""
    model = _model()
    with dropkit.Recorder(model, every=3, path=tmp_path / "run.jsonl") as recorder:
        losses = _train(recorder, model, 7)
    assert [0, 3, 6] == [record["step"] for record in recorder.records]
    assert [losses[0], losses[3], losses[6]] == [record["loss"] for record in recorder.records]
    numbers = recorder.records[1]["sites"]["2"]
    assert 0.3 == numbers["rate"]
    assert 0.3 == pytest.approx(numbers["measured_rate"], abs=0.05)
    assert 0.0 < numbers["zero_before"] < 1.0
    assert 0.7**0.5 == pytest.approx(numbers["gradient_kept"], abs=0.05)
    assert recorder.records == read_records(tmp_path / "run.jsonl")


def test_training_is_the_same() -> None:
    """With and without a recorder training takes the same course to the bit."""
    courses = []
    for every in (1, 1000):
        model = _model()
        torch.manual_seed(1)
        with dropkit.Recorder(model, every=every) as recorder:
            _train(recorder, model, 5)
        courses.append([p.detach().clone() for p in model.parameters()])
    torch.manual_seed(1)
    model = _model()
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.ones(16, 8)).square().mean().backward()
        optimizer.step()
    courses.append([p.detach() for p in model.parameters()])
    for other in courses[1:]:
        assert all(torch.equal(a, b) for a, b in zip(courses[0], other, strict=True))


def _hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_nothing_is_hooked_between_records() -> None:
    """Steps that are not recorded run the model as it is, and so does everything afterwards."""
    model = _model()
    recorder = dropkit.Recorder(model, every=3)
    hooked = []
    for _ in range(6):
        hooked.append(_hooks(model) > 0)
        _train(recorder, model, 1)
    assert [True, False, False, True, False, False] == hooked
    recorder.close()
    assert 0 == _hooks(model)
    assert [] == [name for holder, name, theirs, _ in PLACES if getattr(holder, name) != theirs]


@pytest.mark.parametrize("name", ["functional", "bert, eager", "bert, sdpa", "nn.Transformer"])
def test_names_are_those_of_find_sites(name: str) -> None:
    """Sites of modules and of functions bear the names that `find_sites` gives."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    known = {site.name for site in dropkit.find_sites(model, entry.batch) if site.active}
    with dropkit.Recorder(model, every=1) as recorder:
        entry.loss(entry.run(model)).backward()
        recorder.step()
    found = set(recorder.records[0]["sites"])
    assert found
    assert found <= known


def test_accelerated_and_in_place() -> None:
    """On dropkit's core and for sites that write to their input the numbers are the same kind."""
    model = nn.Sequential(nn.Linear(8, 500), nn.Dropout(0.4, inplace=True), nn.Linear(500, 1))
    with dropkit.accelerate(model), dropkit.Recorder(model, every=1) as recorder:
        _train(recorder, model, 1)
    assert 0.4 == pytest.approx(recorder.records[0]["sites"]["1"]["measured_rate"], abs=0.05)


def test_nan_is_null_in_the_file(tmp_path: Path) -> None:
    """A loss that is not a number leaves a file that any reader of JSON takes."""
    with dropkit.Recorder(_model(), every=1, path=tmp_path / "run.jsonl") as recorder:
        recorder.step(loss=math.nan)
    line = (tmp_path / "run.jsonl").read_text("utf-8").splitlines()[1]
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_compare(tmp_path: Path) -> None:
    """Two runs at two rates differ in the measured rate by as much, and in sites that one lacks."""
    for name, rate in (("a", 0.2), ("b", 0.6)):
        model = _model(rate)
        if name == "b":
            model.append(nn.Dropout(0.1))
        with dropkit.Recorder(model, every=1, path=tmp_path / name) as recorder:
            _train(recorder, model, 8)
    found = compare_runs(tmp_path / "a", tmp_path / "b")
    by_key = {(contrast.site, contrast.number): contrast for contrast in found.contrasts}
    assert 0.4 == pytest.approx(by_key["2", "measured_rate"].difference, abs=0.03)
    assert 0.4 / 0.6 == pytest.approx(by_key["2", "rate"].relative)
    assert ("4",) == found.only_b
    assert () == found.only_a
    assert by_key["4", "rate"].difference is None
    assert (7, 7) == found.steps
    assert "" == found.contrasts[0].site


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "`{path}` must be a file that a Recorder has written."),
        ('{"other": 1}\n', "`{path}` must be a file that a Recorder has written."),
        ('{"dropkit_records": 1}\n', "`{path}` must hold a recorded step; it has none."),
        (None, "`{path}` must be a file that a Recorder has written."),
    ],
)
def test_other_files(text: str | None, message: str, tmp_path: Path) -> None:
    """What no recorder has written is told in a sentence."""
    path = tmp_path / "run.jsonl"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(DataError, match="^" + re.escape(message.format(path=path)) + "$"):
        read_records(path)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A period below 1, and packages that are missing."""
    with pytest.raises(OptionError, match=r"^`every` must be a whole number from 1 up; got 0\.$"):
        dropkit.Recorder(_model(), every=0)
    for package, message, call in (
        (
            "torch.utils.tensorboard",
            "logging there needs tensorboard: pip install 'dropkit[tensorboard]'.",
            lambda: dropkit.Recorder(_model(), tensorboard=tmp_path),
        ),
        (
            "transformers",
            "a callback for Trainer needs transformers: pip install transformers.",
            lambda: dropkit.Recorder(_model()).for_trainer(),
        ),
        (
            "lightning.pytorch.callbacks",
            "a callback for Lightning needs lightning: pip install lightning.",
            lambda: dropkit.Recorder(_model()).for_lightning(),
        ),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
            call()


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_tensorboard(tmp_path: Path) -> None:
    """Each number is a curve of its site."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = _model()
    with dropkit.Recorder(model, every=2, tensorboard=tmp_path) as recorder:
        _train(recorder, model, 5)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    rates = events.Scalars("dropout/measured_rate/2")
    assert [0, 2, 4] == [event.step for event in rates]


class _Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        return {"x": torch.full((8,), float(at)), "labels": torch.tensor(at % 2)}


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_hugging_face_trainer(tmp_path: Path) -> None:
    """The callback records the Trainer's steps, and closes with the training."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = _model()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            y = self.body(x)
            return {"loss": nn.functional.cross_entropy(y, labels), "logits": y}

    model = Model()
    recorder = dropkit.Recorder(model, every=2)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=5,
        per_device_train_batch_size=4,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        disable_tqdm=True,
    )
    transformers.Trainer(
        model, arguments, train_dataset=_Rows(), callbacks=[recorder.for_trainer()]
    ).train()
    assert [0, 2, 4] == [record["step"] for record in recorder.records]
    assert "body.2" in recorder.records[0]["sites"]
    assert 0 == _hooks(model)


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_lightning(tmp_path: Path) -> None:
    """The callback records Lightning's batches with their loss."""
    pl = pytest.importorskip("lightning.pytorch")

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.body = _model()

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self.body(batch["x"]), batch["labels"])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    model = Model()
    recorder = dropkit.Recorder(model, every=2)
    trainer = pl.Trainer(
        max_steps=5,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[recorder.for_lightning()],
    )
    trainer.fit(model, torch.utils.data.DataLoader(_Rows(), batch_size=4))
    assert [0, 2, 4] == [record["step"] for record in recorder.records]
    assert all("loss" in record and "body.2" in record["sites"] for record in recorder.records)
