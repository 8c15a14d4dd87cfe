"""The studies in examples/: each is one, and its fit trains."""

import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import dropkit
from dropkit.demo.questions import Questions
from dropkit.errors import DataError, MissingExtraError
from dropkit.studies.trial import Trial

HERE = Path(__file__).parent
EXAMPLES = Path(__file__).parents[2] / "examples"

QUESTIONS = Questions(
    "made up",
    tuple(f"{start} {word}" for start in ("who is", "what is") for word in "abcdefgh"),
    ("person",) * 8 + ("thing",) * 8,
)

#: What makes each of them small; the names are those of its module.
TINY = {
    "batch_norm": {"N_TRAIN": 40, "N_VALIDATION": 20, "BATCH": 4, "STEPS": 4, "CHANNELS": 2},
    "digits": {"N_TRAIN": 40, "N_VALIDATION": 20, "BATCH": 4, "STEPS": 10, "WIDTH": 8},
    "language_model": {
        "N_TRAIN": 90,
        "N_VALIDATION": 90,
        "BATCH": 2,
        "STEPS": 6,
        "LENGTH": 8,
        "WIDTH": 4,
    },
    "router": {"STEPS": 8, "QUESTIONS": QUESTIONS},
    "underfit": {"N_TRAIN": 4000, "N_VALIDATION": 1000, "BATCH": 4, "STEPS": 10},
}


@pytest.fixture
def example(request, monkeypatch, tmp_path) -> Iterator[ModuleType]:
    """The module of an example, imported as `dropkit study` does, in its tiny form."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    monkeypatch.setenv("DROPKIT_DATA", str(tmp_path))
    module = importlib.import_module(request.param)
    for name, value in TINY[request.param].items():
        monkeypatch.setattr(module, name, value)
    yield module
    for made in vars(module).values():  # of data that another test makes anew
        if hasattr(made, "cache_clear") and made.__module__ == module.__name__:
            made.cache_clear()


@pytest.fixture
def shared_data(tmp_path) -> None:
    """Made-up data in the places of the real ones."""
    (tmp_path / "tinyshakespeare").mkdir()
    lines = [f"{name}: {word} I say.\n" for name in "ABCDEFGH" for word in ("Nay", "Ay", "Well")]
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("".join(lines), encoding="utf-8")


@pytest.mark.usefixtures("shared_data")
@pytest.mark.parametrize("example", TINY, indirect=True)
def test_an_example_trains_in_every_arm(example) -> None:
    """Each arm's rates fit the model; the metrics are finite, and the compared one is there."""
    study = example.study
    for arm in study.arms:
        try:
            metrics = study.fit(Trial(arm, 0))
        except MissingExtraError as error:
            pytest.skip(str(error))
        assert study.terms.metric in metrics
        assert all(map(math.isfinite, metrics.values()))


def test_every_study_in_examples_is_tried() -> None:
    """No example with a study is forgotten: it is in the list, or has a file of tests."""
    files = [path for path in EXAMPLES.glob("*.py") if "\nstudy = " in path.read_text("utf-8")]
    own = {path.stem for path in files if (HERE / f"test_{path.stem}.py").is_file()}
    assert sorted({*TINY, *own}) == sorted(path.stem for path in files)


@pytest.mark.parametrize("example", ["language_model"], indirect=True)
def test_missing_data_is_asked_for(example, tmp_path) -> None:
    """The sentence says where it was looked for, and what to set."""
    place = tmp_path / "tinyshakespeare" / "input.txt"
    message = (
        f"the data must lie at {str(place)!r}; there is none. Set DROPKIT_DATA to the folder that "
        "holds tinyshakespeare/input.txt."
    )
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        example.text()


@pytest.mark.parametrize("example", ["batch_norm"], indirect=True)
def test_dropout_stands_where_the_arm_has_it(example) -> None:
    """In front of the second block, and so of the last batch norm, or behind it."""
    kinds = (nn.BatchNorm2d, dropkit.nn.Dropout)
    found = {
        place: [type(m).__name__ for m in example.network(place).modules() if isinstance(m, kinds)]
        for place in ("before", "after")
    }
    assert found == {
        "before": ["BatchNorm2d", "Dropout", "BatchNorm2d"],
        "after": ["BatchNorm2d", "BatchNorm2d", "Dropout"],
    }


@pytest.mark.parametrize("example", ["batch_norm"], indirect=True)
def test_the_variance_ratio_is_that_of_the_running_variance(example) -> None:
    """A running variance thrice that of the inputs in use gives 3."""
    torch.manual_seed(0)
    images = torch.rand(50, 784)
    model = example.network().eval()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    norms[-1].running_var = (
        3.0 * model[2][0](model[1](model[0](images))).var(dim=(0, 2, 3)).detach()
    )
    assert example.variance_ratio(model, images) == pytest.approx(3.0, rel=1e-5)
