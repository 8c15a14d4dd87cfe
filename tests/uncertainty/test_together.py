"""Sub-networks that share a forward draw the masks that they draw alone."""

import gc
import random
import re
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from dropkit import mc_predict
from dropkit.core import kernels, route
from dropkit.errors import AddressError
from dropkit.uncertainty._memory import PeakMemory
from dropkit.uncertainty._passes import Passes
from support_models import MODELS, Entry, first_output

PLENTY = 1 << 30
#: A weight is dropped, or a whole layer for the whole batch.
APART = ["awd-lstm", "layer drop", "bart, eager", "bart, sdpa", "whisper, eager", "whisper, sdpa"]
STOCHASTIC = [name for name, entry in MODELS.items() if entry.places]


HOW = {"kind": "regression", "output": first_output}


@pytest.fixture(params=STOCHASTIC)
def entry(request) -> Entry:
    """A model of the zoo that drops."""
    entry = MODELS[request.param]
    for package in entry.needs:
        pytest.importorskip(package)
    return entry


@pytest.fixture
def n_passes(monkeypatch) -> list[int]:
    """How many sub-networks each forward had that brought answers."""
    taken: list[int] = []
    answers = Passes.answers

    def counted(self: Passes, *args: Any) -> list[Tensor]:
        found = answers(self, *args)
        taken.append(len(found))
        return found

    monkeypatch.setattr(Passes, "answers", counted)
    return taken


@pytest.fixture
def masks(monkeypatch) -> list[tuple[Any, ...]]:
    """Each mask that is drawn: its address, and the shape that it is drawn for."""
    drawn: list[tuple[Any, ...]] = []
    eager, general = route.eager_mask, route.general_mask

    def seen_eager(shape: Any, *args: Any) -> Any:
        key, stream, place = eager(shape, *args)
        drawn.append((key, stream, tuple(shape)))
        return key, stream, place

    def seen_general(shape: Any, *args: Any) -> Any:
        mask, rows = general(shape, *args)
        key, stream, _ = mask.tolist()
        drawn.append((key % 2**64, stream % 2**64, tuple(shape)))
        return mask, rows

    monkeypatch.setattr(route, "eager_mask", seen_eager)
    monkeypatch.setattr(route, "general_mask", seen_general)
    return drawn


def test_same_masks(entry: Entry, masks: list[tuple[Any, ...]]) -> None:
    """Every mask of every sub-network has the address and the shape that it has one by one."""
    model = entry.build()
    mc_predict(model, entry.batch, 4, memory_budget=0, **HOW)
    alone = sorted(masks)
    masks.clear()
    mc_predict(model, entry.batch, 4, memory_budget=PLENTY, **HOW)
    assert set(alone) == set(masks)
    assert len(alone) == len(set(alone))


def test_same_answers(entry: Entry, n_passes: list[int]) -> None:
    """Answers differ by rounding, and two passes do where sub-networks can share them."""
    model = entry.build()
    alone = mc_predict(model, entry.batch, 6, memory_budget=0, **HOW).answers
    n_passes.clear()
    together = mc_predict(model, entry.batch, 6, memory_budget=PLENTY, **HOW).answers
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert torch.equal(together[0], alone[0])
    assert ([1] * 6 if entry.name in APART else [1, 5]) == n_passes
    again = mc_predict(model, entry.batch, 6, memory_budget=PLENTY, **HOW).answers
    assert torch.equal(again, together)


@pytest.mark.parametrize("name", [name for name in STOCHASTIC if name not in APART])
def test_prefix(name: str) -> None:
    """What comes before the last site is computed once and read by all."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    only = [site.name for site in dropkit.find_sites(model, entry.batch) if site.active][-1]
    alone = mc_predict(model, entry.batch, 4, only=only, memory_budget=0, **HOW).answers
    together = mc_predict(model, entry.batch, 4, only=only, memory_budget=PLENTY, **HOW).answers
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


class Calls(nn.Module):
    """Calls a function that drops."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.drop = function, nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """What the function gives; it drops once more, so that there is a site in any case."""
        return self.function(self.drop(x))


def patches(x: Tensor) -> Tensor:
    """Tokens of images, fewer of them."""
    return dropkit.nn.PatchDropout(0.5)(x.flatten(1, 2))


FUNCTIONS = dropkit.functional
LAYERS: dict[str, nn.Module] = {
    "dropout": dropkit.nn.Dropout(0.5),
    "in place": nn.Sequential(nn.Identity(), dropkit.nn.Dropout(0.5, inplace=True)),
    "vanilla": dropkit.nn.Dropout(0.5, mode="vanilla"),
    "noise shape": dropkit.nn.Dropout(0.5, noise_shape=(None, 1, None, 1)),
    "shared by examples": dropkit.nn.Dropout(0.5, noise_shape=(1, None, None, None)),
    "channels": dropkit.nn.Dropout2d(0.5),
    "alpha": dropkit.nn.AlphaDropout(0.5),
    "feature alpha": dropkit.nn.FeatureAlphaDropout(0.5),
    "gaussian": dropkit.nn.GaussianDropout(0.5),
    "drop path": dropkit.nn.DropPath(0.5),
    "drop block": dropkit.nn.DropBlock2d(0.3, 2),
    "concrete": dropkit.nn.ConcreteDropout(nn.Identity(), n_inputs=4),
    "patches": Calls(patches),
    "locked": Calls(lambda x: dropkit.nn.LockedDropout(0.5, batch_first=True)(x.flatten(1, 2))),
    "attention": Calls(
        lambda x: FUNCTIONS.scaled_dot_product_attention(x, x, x, dropout_p=0.5, is_causal=True)
    ),
    "attention of heads": Calls(
        lambda x: F.scaled_dot_product_attention(*[x.flatten(0, 1)] * 3, dropout_p=0.5).view_as(x)
    ),
    "dropout and add": Calls(lambda x: FUNCTIONS.dropout_add(x, x, 0.5)),
    "words": Calls(lambda x: FUNCTIONS.word_dropout((x * 9).long(), 0.5, 3).float()),
    "time first": Calls(lambda x: F.dropout(x.movedim(0, 2), 0.5).movedim(2, 0)),
    "by hand": Calls(lambda x: x * (torch.rand(len(x), 1, 1, 1) < 0.5)),
    "by hand, in place": Calls(lambda x: x * torch.empty(len(x), 4, 1, 1).bernoulli_(0.5)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind(kind: str, n_passes: list[int]) -> None:
    """Each kind of dropout, in batches with and without ids, to the bit where nothing is summed."""
    model, x = LAYERS[kind].eval(), torch.randn(3, 4, 6, 6, generator=torch.manual_seed(1))
    for ids in (None, [5, 2, 9]):
        if ids is not None and kind in ("time first", "attention of heads"):
            continue
        how = {"kind": "regression", "ids": ids}
        alone = mc_predict(model, x, 5, memory_budget=0, **how).answers
        n_passes.clear()
        together = mc_predict(model, x, 5, memory_budget=PLENTY, **how).answers
        torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)
        assert [1, 4] == n_passes


def test_embedding(n_passes: list[int]) -> None:
    """Word types are dropped in each sub-network for itself."""
    embedding = dropkit.nn.EmbeddingDropout(nn.Embedding(20, 8), 0.5)
    ids = torch.arange(12).reshape(3, 4) % 5
    model = nn.Sequential(embedding)
    alone = mc_predict(model, ids, 5, kind="regression", memory_budget=0).answers
    n_passes.clear()
    assert torch.equal(mc_predict(model, ids, 5, kind="regression").answers, alone)
    assert [1, 4] == n_passes


class Reads(nn.Module):
    """Reads its batch in a way that sub-networks cannot share."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how, self.drop, self.linear = how, nn.Dropout(0.5), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Drops, then reads, then drops."""
        return self.drop(self.how(self.linear(self.drop(x))))


def interleaved(x: Tensor) -> Tensor:
    """Time and batch in one dimension, time first."""
    rows = F.dropout(x.transpose(0, 1).reshape(-1, x.shape[-1]), 0.5)
    return rows.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1)


@pytest.mark.parametrize(
    "how",
    [
        interleaved,
        lambda x: x - x.mean(0),
        lambda x: x * len(x),
        lambda x: x + torch.randn(x.shape),
        lambda x: x * random.random(),
        lambda x: x * (torch.rand(4, 6) < 0.5),
        lambda x: x * F.dropout(torch.ones(4, 6), 0.5),
        lambda x: x.reshape(3, 4, 6),
    ],
)
def test_apart(how: Callable[[Tensor], Tensor], n_passes: list[int]) -> None:
    """A model of which sub-networks cannot share a forward runs them one by one, to the bit."""
    model, x = Reads(how), torch.randn(3, 4, 6, generator=torch.manual_seed(2))
    random.seed(1)
    alone = mc_predict(model, x, 4, kind="regression", memory_budget=0).answers
    n_passes.clear()
    assert torch.equal(mc_predict(model, x, 4, kind="regression").answers, alone)
    assert [1, 1, 1, 1] == n_passes


class Writes(nn.Module):
    """Writes to what was computed before the first mask, reads it again, and drops."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 4)`` to the same."""
        a, b = self.first(x), self.second(x)
        a += 1.0
        b[:, 0] = 2.0
        y = self.drop(a)
        a.mul_(2.0)
        return y + a + b


def test_writes(n_passes: list[int]) -> None:
    """A model that writes to what is handed to it again gets what it wrote."""
    model, x = Writes(), torch.randn(3, 4, generator=torch.manual_seed(0))
    alone = mc_predict(model, x, 7, kind="regression", memory_budget=0).answers
    n_passes.clear()
    torch.testing.assert_close(mc_predict(model, x, 7, kind="regression").answers, alone)
    assert [1, 6] == n_passes


def test_tolerance(n_passes: list[int]) -> None:
    """Blocks of eight share forwards, and examples drop out of them."""
    model = nn.Sequential(nn.Dropout(0.5))
    x = torch.tensor([0.01, 1.0, 30.0]).unsqueeze(1).repeat(1, 50)
    how: dict[str, Any] = {"kind": "regression", "tolerance": 0.03}
    how["output"] = lambda y: y.mean(1, keepdim=True)
    alone = mc_predict(model, x, 32, memory_budget=0, **how)
    n_passes.clear()
    together = mc_predict(model, x, 32, **how)
    assert torch.equal(together.samples_used, alone.samples_used)
    torch.testing.assert_close(together.answers, alone.answers, equal_nan=True)
    assert [1, 7, 1, 7] == n_passes[:4]


def test_budget(n_passes: list[int]) -> None:
    """So many sub-networks run at once as the first one's memory allows, in even shares."""
    model = nn.Sequential(nn.Linear(4, 256), nn.Dropout(0.5), nn.Linear(256, 4))
    x = torch.randn(16, 4)
    held = 16 * (256 + 4) * 4  # the dropped tensor and the answer
    mc_predict(model, x, 12, kind="regression", memory_budget=5 * held)
    assert [1, 4, 4, 3] == n_passes
    n_passes.clear()
    mc_predict(model, x, 4, kind="regression", memory_budget=held)
    assert [1, 1, 1, 1] == n_passes


@pytest.fixture
def ten_kib() -> Tensor:
    """2,560 numbers of four bytes."""
    return torch.ones(2560)


def test_peak_memory(ten_kib: Tensor) -> None:
    """What operators make counts while it is held; views and what was there before do not."""
    with PeakMemory(lambda: True) as peak:
        one = ten_kib + 1
        two = one * 2
        one.view(10, 256)
        ten_kib.view(10, 256)
        del one
        two.add_(two + 1)
    assert 2 * 10 * 1024 == peak.bytes


def test_dropped_into_memory() -> None:
    """The kernels' own results count as torch's do."""
    with PeakMemory(lambda: True) as peak:
        kernels.dropout(torch.ones(256), 1, 2, 99)
    assert 2 * 1024 == peak.bytes


class TimeFirst(nn.Module):
    """Drops with time in front of the examples, as many steps as there are."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, 4)`` to the same."""
        return self.drop(x.transpose(0, 1)).transpose(0, 1)


class Weight(nn.Module):
    """Drops a weight with torch's function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, 4)`` to ``(B, T, 6)``."""
        return x @ F.dropout(self.weight, 0.5, self.training).T


@pytest.mark.parametrize(
    ("model", "shape", "where"),
    [(TimeFirst(), (3, 3, 4), "in dimension 1"), (Weight(), (6, 4), "in none")],
)
@pytest.mark.parametrize("budget", [0, PLENTY])
@pytest.mark.parametrize("how", [{"ids": [7, 8, 9]}, {"tolerance": 0.1}])
def test_misread_ids(
    model: nn.Module, shape: tuple[int, ...], where: str, budget: int, how: Any
) -> None:
    """Ids that would be read into what holds no examples, or others, are refused."""
    message = (
        "`ids` and `tolerance` need the examples in the first dimension of all that is dropped; "
        f"of a tensor of shape {shape} they are {where}. Leave them out for this model."
    )
    x = torch.randn(3, 3, 4, generator=torch.manual_seed(0))
    with pytest.raises(AddressError, match="^" + re.escape(message) + "$"):
        mc_predict(model, x, 9, kind="regression", memory_budget=budget, **how)
    mc_predict(model, x, 3, kind="regression", memory_budget=budget)


def test_dropped_parameters() -> None:
    """Ids are not read into what our own layers know for a weight."""
    layer = dropkit.nn.WeightDrop(nn.Linear(4, 6), "weight", 0.5)
    x = torch.randn(3, 4, generator=torch.manual_seed(0))
    whole = mc_predict(layer, x, 4, kind="regression", ids=[7, 8, 9]).answers
    alone = mc_predict(layer, x[1:2], 4, kind="regression", ids=[8]).answers
    torch.testing.assert_close(alone, whole[:, 1:2])


def test_no_model_is_kept() -> None:
    """After a prediction the model is its user's alone: it goes when they let it go."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    gone = weakref.ref(model)
    dropkit.mc_predict(model, torch.randn(3, 4), samples=4)
    del model
    gc.collect()
    assert gone() is None
