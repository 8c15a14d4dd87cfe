"""A Lightning training that a recipe runs is one trial: its rates, seeds, masks and metrics."""

import functools
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dropkit.core.scope import current_scope
from dropkit.errors import MissingExtraError, OptionError
from dropkit.nn.schedules import Schedule
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial, innermost

pl = pytest.importorskip("lightning.pytorch")

from dropkit.studies.recipes.lightning import LightningFit  # noqa: E402 - only where it can be had
from dropkit.studies.recipes.lightning_masks import NamedMasks  # noqa: E402

HALF = Arm("half", rates=0.5)


@pytest.fixture(autouse=True)
def _few_warnings() -> None:
    """Lightning advises on loaders and folders."""
    warnings.filterwarnings("ignore", module="lightning|torch")


class Module(pl.LightningModule):
    """Drops in a layer and, outside of any forward, in a function."""

    def __init__(self, decay: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
        self.decay = decay
        self.kept: list[torch.Tensor] = []
        self.rates: list[float] = []
        self.order: list[torch.Tensor] = []
        self.net[2].register_forward_hook(self.look)

    def look(self, module, _, output) -> None:
        """Keep what was dropped."""
        if module.training:
            self.kept.append(output.detach() != 0)
            self.rates.append(module.p)

    def training_step(self, batch, _) -> torch.Tensor:
        """The loss of a batch."""
        x, y = batch
        self.order.append(x)
        return nn.functional.mse_loss(self.net(nn.functional.dropout(x, 0.1)), y)

    def validation_step(self, batch, _) -> None:
        """Log it."""
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.net(x), y))
        self.log("distance", (self.net(x) - y).abs().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As the arm says."""
        return torch.optim.SGD(self.parameters(), lr=0.1, weight_decay=self.decay)


def loader(n: int, seed: int, *, shuffle: bool) -> DataLoader:
    """Random examples, four a batch."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    noise = torch.randn(n, 1, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :1] + noise), batch_size=4, shuffle=shuffle)


def trainer(folder: Path, **options) -> pl.Trainer:
    """A quiet one."""
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", enable_progress_bar=False, logger=False,
        enable_model_summary=False, **{"enable_checkpointing": False, **options},
    )  # fmt: skip


def make(trial: Trial, *, folder: Path, **options) -> tuple[object, ...]:
    """What a user hands over."""
    split = trial.seed("split")
    return (
        trainer(folder, **{"max_epochs": 2, "log_every_n_steps": 2, **options}),
        Module(trial.arm.weight_decay),
        loader(16, split, shuffle=True),
        loader(8, split + 1, shuffle=False),
    )


def seen_by(fit_of, folder: Path, trial: Trial, **options) -> Module:
    """The module after its trial."""
    made = []

    def keep(trial: Trial) -> tuple[object, ...]:
        made.append(make(trial, folder=folder, **options))
        return made[0]

    fit_of(keep)(trial)
    return made[0][1]


def equal(a, b) -> bool:
    """Bit by bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_metrics_and_reports(tmp_path) -> None:
    """What is measured and reported bears the names that studies use; costs are among it."""
    trial = Trial(HALF, 0)
    found = LightningFit(functools.partial(make, folder=tmp_path))(trial)
    names = {"validation_loss", "train_loss", "gap", "distance", "step_s", "peak_mib"}
    assert names == set(found)
    assert found["gap"] == found["validation_loss"] - found["train_loss"]
    reported = [(point.step, sorted(point.metrics)) for point in trial.points]
    train, validation = ["train_loss"], ["distance", "validation_loss"]
    steps = [(2, train), (4, train), (4, validation), (6, train), (8, train), (8, validation)]
    assert steps == reported


def test_same_trial_gives_the_same_numbers(tmp_path) -> None:
    """A trial is a function of its seeds, and the process's own chance goes on untouched."""
    fit = LightningFit(functools.partial(make, folder=tmp_path))
    torch.manual_seed(1)
    first = fit(Trial(HALF, 0))
    after = torch.rand(1)
    torch.manual_seed(2)
    losses = [found["validation_loss"] for found in (fit(Trial(HALF, 0)), fit(Trial(HALF, 1)))]
    torch.manual_seed(1)
    assert torch.rand(1) == after
    assert first["validation_loss"] == losses[0] != losses[1]


def test_arms_share_all_but_their_rates(tmp_path) -> None:
    """Two arms see the same examples in the same order; masks are nested; replicates differ."""
    low, high, other = (
        seen_by(LightningFit, tmp_path, Trial(Arm("a", {"net.*": rate}), k),
                accumulate_grad_batches=2)
        for rate, k in ((0.3, 0), (0.5, 0), (0.5, 1))
    )  # fmt: skip
    assert equal(low.order, high.order)
    assert not equal(low.order, other.order)
    assert [0.3] * 8 == low.rates
    assert len({kept.numpy().tobytes() for kept in high.kept}) == 8, "a batch, a mask"
    # What is zero behind the ReLU is so in both; the very first batch is of the same weights.
    assert (low.kept[0] | ~high.kept[0]).all()
    assert (low.kept[0] & ~high.kept[0]).any()


def test_rates_follow_the_steps(tmp_path) -> None:
    """A schedule counts optimizer's steps, each of two batches here."""
    arm = Arm("late", rates={"net.*": Schedule.late(0.5, start=2)})
    module = seen_by(LightningFit, tmp_path, Trial(arm, 0), accumulate_grad_batches=2)
    assert [0.0] * 4 + [0.5] * 4 == module.rates


class Stirred(pl.Callback):
    """Seeds torch anew in the middle of everything."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, *_) -> None:
        """Stir."""
        torch.manual_seed(self.seed)


def weights_after(folder: Path, *callbacks: pl.Callback, resume: Path | None = None, **options):
    """What a training with named masks learns."""
    torch.manual_seed(5)
    module = Module()
    masks = NamedMasks(Trial(HALF, 0))
    run = trainer(folder, callbacks=[masks, *callbacks], accumulate_grad_batches=2, **options)
    torch.rand(17 if resume else 1)  # another process stands somewhere else
    run.fit(module, loader(16, 0, shuffle=False), ckpt_path=resume)
    return [p.detach().clone() for p in module.parameters()]


def test_masks_do_not_hang_on_ambient_chance(tmp_path) -> None:
    """What a function drops outside of any forward has a name too."""
    one, other = (weights_after(tmp_path, Stirred(k), max_epochs=2) for k in (1, 2))
    assert equal(one, other)


def test_resumed_training_is_the_same(tmp_path) -> None:
    """Cut off and resumed from a checkpoint, a training ends with the same bits."""
    whole = weights_after(tmp_path, max_epochs=3)
    saved = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, save_last=True)
    part = weights_after(tmp_path, saved, max_epochs=1, enable_checkpointing=True)
    assert not equal(whole, part)
    assert equal(whole, weights_after(tmp_path, max_epochs=3, resume=tmp_path / "last.ckpt"))


class Breaks(pl.Callback):
    """Raises in the middle of training."""

    def on_before_backward(self, *_) -> None:
        """Raise."""
        raise ValueError("broken")


def test_everything_is_put_back(tmp_path) -> None:
    """After a run that raises, rates, layers and functions are torch's, and no mask is named."""
    before = nn.functional.dropout
    made = make(Trial(HALF, 0), folder=tmp_path, callbacks=[Breaks()])
    with pytest.raises(ValueError, match=r"^broken$"):
        LightningFit(lambda _: made)(Trial(HALF, 0))
    drop = made[1].net[2]
    assert (nn.Dropout, 0.1) == (type(drop), drop.p)
    assert nn.functional.dropout is before
    assert current_scope() is None


def test_decay_that_is_not_the_arms_is_refused(tmp_path) -> None:
    """An arm whose weight decay no optimizer has would be an arm without."""
    arm = Arm("decay", weight_decay=0.25)
    assert 0.25 == seen_by(LightningFit, tmp_path, Trial(arm, 0)).decay
    made = (trainer(tmp_path, max_epochs=1), Module(0.5), loader(8, 0, shuffle=True))
    message = (
        "the optimizer must decay by the 0.25 of arm 'decay'; got 0.5. Give it "
        "trial.arm.weight_decay where it is made."
    )
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        LightningFit(lambda _: made)(Trial(arm, 0))


def test_trial_that_is_to_stop_stops(tmp_path) -> None:
    """A loss that is not finite ends training at once, and nothing is evaluated any more."""

    class Diverges(Module):
        def training_step(self, batch, index) -> torch.Tensor:
            return super().training_step(batch, index) * float("inf")

    trial = Trial(HALF, 0)
    data = loader(16, 0, shuffle=True), loader(8, 1, shuffle=False)
    made = (trainer(tmp_path, max_epochs=2, log_every_n_steps=1), Diverges(), *data)
    assert {} == LightningFit(lambda _: made)(trial)
    assert 1 == len([point for point in trial.points if "train_loss" in point.metrics])


class Data(pl.LightningDataModule):
    """The loaders, as a module."""

    def train_dataloader(self) -> DataLoader:
        """For training."""
        return loader(16, 0, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """For validation."""
        return loader(8, 1, shuffle=False)


def test_data_module_is_served(tmp_path) -> None:
    """A data module stands for its loaders."""

    def made(data) -> dict[str, float]:
        fit = LightningFit(lambda _: (trainer(tmp_path, max_epochs=1), Module(), *data))
        found = fit(Trial(HALF, 0))
        return {key: found[key] for key in ("validation_loss", "train_loss", "gap")}

    assert made([Data()]) == made([Data().train_dataloader(), Data().val_dataloader()])


def test_study_of_a_recipe(tmp_path) -> None:
    """A study takes the recipe as its fit, and its file bears the name of what makes Trainers."""
    fit = LightningFit(functools.partial(make, folder=tmp_path, max_epochs=1))
    assert innermost(fit) is make
    result = Study(fit, [Arm("none"), HALF], replicates=2).run()
    assert 2 == result.n_complete


def test_missing_lightning_names_the_extra(monkeypatch) -> None:
    """Without lightning the error says what to install."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch.callbacks", None)
    for name in ("lightning", "lightning_masks"):
        monkeypatch.delitem(sys.modules, f"dropkit.studies.recipes.{name}")
    message = "a recipe for Lightning needs lightning: pip install 'dropkit[lightning]'."
    with pytest.raises(MissingExtraError, match="^" + re.escape(message) + "$"):
        from dropkit.studies.recipes.lightning import LightningFit  # noqa: F401
