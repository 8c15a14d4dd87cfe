"""The frozen blocks below the adapters are run once an example, and nothing else changes."""

import dataclasses
from pathlib import Path

import pytest
import torch

from dropkit.finetuning.engine import finetune
from dropkit.finetuning.fit import make_model
from dropkit.finetuning.models import load_tokenizer
from dropkit.finetuning.settings import Settings
from dropkit.finetuning.tasks import make_work, mean_loss
from dropkit.finetuning.trunk import Trunk


def _settings(folder: Path) -> Settings:
    return Settings(
        str(folder / "model"),
        str(folder / "chats.jsonl"),
        rates=(0.0, 0.3),
        epochs=1,
        learning_rate=3e-3,
        last_layers=1,
        replicates=1,
    )


def test_states_stand_for_tokens(folder: Path) -> None:
    """Losses are those of the whole model, names of weights too, and the blocks are put back."""
    settings = _settings(folder)
    work = make_work(settings, load_tokenizer(settings.model))
    parts = work.parts(0)
    torch.manual_seed(0)
    model = make_model(settings, work)
    names = [name for name, _ in model.named_modules()]
    trunk = Trunk.of(model, settings, parts.train)
    assert trunk is not None
    expected, right = mean_loss(model, work, work.collate, parts.train, batch=8)
    with trunk.skipped():
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        got, also_right = mean_loss(
            model, work, lambda batch: trunk.collate(work, batch), parts.train, batch=8
        )
    assert abs(expected - got) < 1e-6
    assert right == also_right
    assert names == [name for name, _ in model.named_modules()]
    assert trained == [name for name, p in model.named_parameters() if p.requires_grad]


def test_training_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to rounding: masks of the adapters' dropout do not depend on the trunk."""
    settings = _settings(folder)
    quick = finetune(settings, tmp_path / "quick")
    with monkeypatch.context() as patch:
        patch.setattr(Trunk, "of", lambda *_: None)
        slow = finetune(settings, tmp_path / "slow")
    assert "frozen blocks" in quick.speed.parts
    assert "frozen blocks" not in slow.speed.parts
    for a, b in zip(quick.arms, slow.arms, strict=True):
        assert abs(a.curve[-1].held_out_loss - b.curve[-1].held_out_loss) < 1e-5
        assert abs(a.curve[-1].held_out_loss - a.curve[0].held_out_loss) > 1e-3  # it did train


@pytest.mark.parametrize(
    "change",
    [{"last_layers": 0}, {"last_layers": 2}, {"site_rates": {"*": 0.1}}, {"is_full": True}],
)
def test_no_trunk(folder: Path, change: dict[str, object]) -> None:
    """Where every block has an adapter, where the base drops, where all is trained."""
    settings = dataclasses.replace(_settings(folder), **change)
    work = make_work(settings, load_tokenizer(settings.model))
    model = make_model(settings, work)
    assert Trunk.of(model, settings, work.parts(0).train) is None
