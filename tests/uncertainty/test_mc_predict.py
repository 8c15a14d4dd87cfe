"""Sub-networks have names, answers that do not depend on the batch, and leave no trace."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from scipy import stats
from torch import Tensor, nn

import dropkit
from dropkit import mc_predict
from dropkit.errors import DataError
from support_models import MODELS, Entry, first_output

#: Their first dimension is the batch; what holds no examples is dropped by layers that know it.
NAMED = [
    "mlp",
    "dropout2d after batch norm",
    "nn.TransformerEncoder",
    "functional",
    "bernoulli",
    "stochastic depth",
    "layer drop",
    "nn.LSTM",
    "bert, sdpa",
    "bert, eager",
]
STOCHASTIC = [name for name, entry in MODELS.items() if entry.places]


def of_examples(batch: Any, which: Tensor) -> Any:
    """Some examples of a batch."""
    if isinstance(batch, Tensor):
        return batch[which]
    if isinstance(batch, dict):
        return {key: x[which] for key, x in batch.items()}
    return tuple(x[which] for x in batch)


def size(batch: Any) -> int:
    """How many examples a batch holds."""
    return len(
        batch
        if isinstance(batch, Tensor)
        else next(iter(getattr(batch, "values", lambda: batch)()))
    )


@pytest.fixture(params=STOCHASTIC)
def entry(request) -> Entry:
    """A model of the zoo that drops."""
    entry = MODELS[request.param]
    for package in entry.needs:
        pytest.importorskip(package)
    return entry


def plain_loop(entry: Entry, samples: int, only: str | None = None) -> Tensor:
    """The same sub-networks without keeping anything between two passes."""
    model = entry.build()
    answers = []
    with torch.no_grad(), dropkit.accelerate(model), dropkit.awaken(model, only):
        for k in range(samples):
            with dropkit.masks_at(0, sample=k):
                answers.append(first_output(entry.run(model)).double())
    return torch.stack(answers)


def state_of(model: nn.Module) -> list[Any]:
    """All that a user could find changed."""
    return [
        [x.clone() for x in (*model.parameters(), *model.buffers())],
        [module.training for module in model.modules()],
        [sorted(vars(module)) for module in model.modules()],
        [type(module) for module in model.modules()],
        torch.get_rng_state(),
    ]


def assert_same(before: list[Any], after: list[Any]) -> None:
    """Two states are equal to the bit."""
    assert before[1:4] == after[1:4]
    assert all(map(torch.equal, before[0], after[0]))
    assert torch.equal(before[4], after[4])


def test_untouched_after_an_error() -> None:
    """Likewise where a sub-network gives nan, and no function stays replaced."""
    entry = MODELS["mlp"]
    model = entry.build()
    before, theirs = state_of(model), F.dropout
    with pytest.raises(DataError):
        mc_predict(model, torch.full((2, 16), torch.nan))
    assert_same(before, state_of(model))
    assert theirs is F.dropout


def test_wrong_shapes() -> None:
    """An input that the model does not take gets torch's own answer, and leaves no trace."""
    model = MODELS["mlp"].build()
    before, theirs = state_of(model), F.dropout
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2 shapes cannot be multiplied \(8x5 and"):
        mc_predict(model, torch.ones(8, 5))
    assert_same(before, state_of(model))
    assert theirs is F.dropout


@pytest.mark.parametrize("name", NAMED)
def test_same_in_any_batch(name: str) -> None:
    """Sample `k` of example `id` is the same, to rounding, alone, in other orders and sizes."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    model, n = entry.build(), size(entry.batch)
    ids = torch.arange(n) * 1000 + 7

    def answers(which: Tensor) -> Tensor:
        batch = of_examples(entry.batch, which)
        how = {"ids": ids[which], "kind": "regression", "output": first_output}
        return mc_predict(model, batch, 3, **how).answers

    whole = answers(torch.arange(n))
    for which in (torch.arange(n).flip(0), torch.tensor([1]), torch.tensor([1, 0])):
        torch.testing.assert_close(answers(which), whole[:, which], rtol=1e-5, atol=1e-6)
    assert torch.equal(answers(torch.arange(n)), whole)


@pytest.mark.parametrize("name", [name for name in NAMED if name != "layer drop"])
def test_ids_matter(name: str) -> None:
    """Under other ids the answers are others, where masks are drawn for each example."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    model, n = entry.build(), size(entry.batch)
    how = {"kind": "regression", "output": first_output}
    one = mc_predict(model, entry.batch, 8, ids=range(n), **how).answers
    other = mc_predict(model, entry.batch, 8, ids=range(n, 2 * n), **how).answers
    assert not torch.equal(one, other)


def test_masks_are_equal_to_the_bit() -> None:
    """Where no sum stands between, an example's answers are equal to the bit in any batch."""
    model = nn.Sequential(nn.Dropout(0.5), nn.Tanh(), nn.Dropout1d(0.3))
    x = torch.randn(64, 4, 6)
    order = torch.randperm(64)

    def answers(which: Tensor) -> Tensor:
        return mc_predict(model, x[which], 3, ids=which, kind="regression").answers

    whole = answers(torch.arange(64))
    assert torch.equal(answers(order), whole[:, order])
    assert torch.equal(answers(torch.tensor([5])), whole[:, [5]])


def test_same_in_another_process(run_python: Callable[..., Any]) -> None:
    """Another process gives the same bits."""
    script = """
import torch, dropkit
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(3)
model = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 3))
print(dropkit.mc_predict(model, torch.ones(2, 4), 3, ids=[8, 2]).answers.tolist())
"""
    once, again = run_python(script), run_python(script)
    assert ("", 0) == (once.stderr, once.returncode)
    assert once.stdout == again.stdout


def test_is_a_plain_loop(entry: Entry) -> None:
    """One by one, answers are a plain loop's and `replay`'s to the bit; the model is as before."""
    model = entry.build()
    before = state_of(model)
    how = {"kind": "regression", "output": first_output, "memory_budget": 0}
    found = mc_predict(model, entry.batch, 3, **how)
    assert torch.equal(plain_loop(entry, 3), found.answers)
    assert bool((found.variance > 0).any())
    with torch.no_grad():
        again = first_output(entry.run(found.replay(2))).double()
    assert torch.equal(again, found.answers[2])
    assert_same(before, state_of(model))


def test_prefix_is_right(entry: Entry) -> None:
    """With the last site alone on, so that most is computed once, answers are a plain loop's."""
    model = entry.build()
    only = [site.name for site in dropkit.find_sites(model, entry.batch) if site.active][-1]
    how = {"kind": "regression", "output": first_output, "memory_budget": 0}
    found = mc_predict(model, entry.batch, 4, only=only, **how)
    assert torch.equal(plain_loop(entry, 4, only), found.answers)


def test_replay() -> None:
    """`replay(k)` is the same in training and in eval mode, and gradients go through it."""
    entry = MODELS["functional"]
    model = entry.build()
    found = mc_predict(model, entry.batch, 3)
    sub_network = found.replay(2)
    for mode in (True, False):
        out = sub_network.train(mode)(entry.batch)
        assert torch.equal(out.double().softmax(-1), found.answers[2])
        assert mode == model.training
    entry.loss(out).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_replay_of_other_examples() -> None:
    """`ids` says which examples a sub-network is called on."""
    entry = MODELS["mlp"]
    model = entry.build()
    found = mc_predict(model, entry.batch, 3, ids=range(10, 18), kind="regression")
    out = found.replay(1, ids=[13])(entry.batch[3:4]).double()
    torch.testing.assert_close(out, found.answers[1, 3:4], rtol=1e-5, atol=1e-6)


def test_only() -> None:
    """Only the named sites draw, and what comes before the first of them is computed once."""
    entry = MODELS["mlp"]
    found = mc_predict(entry.build(), entry.batch, 4, only="5", kind="regression")
    assert torch.equal(plain_loop(entry, 4, only="5"), found.answers)
    model, calls = entry.build(), []
    model[0].forward = _counted(model[0].forward, calls)
    mc_predict(model, entry.batch, 4, only="5")
    assert 1 == len(calls)


def _counted(forward: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        calls.append(1)
        return forward(*args)

    return counted


class Writes(nn.Module):
    """Writes to what modules before the first mask gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """All of these ways."""
        x = self.first(x)
        self.act(x)  # what it returns is left unread
        y = self.second(x)
        z = self.drop(y)
        x += z
        return torch.cat([x, y, z], 1)


def test_tolerance_of_a_mapping() -> None:
    """Examples of a batch of keywords are sampled one by one too, under their own ids."""
    pytest.importorskip("transformers")
    entry = MODELS["bert, sdpa"]
    model, ids = entry.build(), [5, 9]
    whole = mc_predict(model, entry.batch, 16, ids=ids)
    errors = whole.answers[:8].std(0).amax(1) / 8**0.5
    between = float(errors.mean())
    found = mc_predict(model, entry.batch, 16, ids=ids, tolerance=between)
    assert {8, 16} == set(found.samples_used.tolist())
    for i, used in enumerate(found.samples_used.tolist()):
        torch.testing.assert_close(whole.answers[:used, i], found.answers[:used, i])


def test_writes_in_place() -> None:
    """What is kept of the first pass is not spoilt by a model that writes to it."""
    torch.manual_seed(0)
    model, x = Writes(), torch.randn(6, 4)
    entry = Entry("writes", lambda: model, x, lambda y: y.sum(), places=1)
    found = mc_predict(model, x, 5, kind="regression")
    assert torch.equal(plain_loop(entry, 5), found.answers)


class Noisy(nn.Module):
    """Adds noise of torch's own generator, first of all."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = nn.Sequential(nn.Identity())
        self.noise.register_forward_hook(lambda *args: args[2] + torch.randn(3, 4))
        self.inner = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``(3, 4)`` to the same."""
        return self.drop(self.inner(self.noise(x)))


def test_noise_is_not_kept() -> None:
    """Numbers of torch's generator are drawn anew in each sample, and replay in the same batch."""
    model, x = Noisy(), torch.randn(3, 4)
    one = mc_predict(model, x, 4, only="drop", kind="regression").answers
    torch.randn(7)
    again = mc_predict(model, x, 4, only="drop", kind="regression").answers
    assert torch.equal(one, again)
    is_kept_twice = (one[0] != 0) & (one[1] != 0)
    assert not bool((one[0] == one[1])[is_kept_twice].any())


def kept_once(p: float, seed: int) -> dropkit.MCPrediction:
    """20,000 draws of one unit that is dropped: 100 in each of 200 examples."""
    model = nn.Sequential(nn.Dropout(p))
    return mc_predict(model, torch.ones(200, 1), 100, kind="regression", seed=seed)


def test_closed_form(false_alarm: float, seed: int) -> None:
    """How often a unit was dropped is binomial, and mean and variance say how often."""
    found = kept_once(0.25, seed)
    keep = 1.0 - dropkit.effective_rate(0.25)
    kept = int((found.answers != 0).sum())
    assert stats.binomtest(kept, 20_000, keep).pvalue > false_alarm, f"DK_TEST_SEED={seed}"
    share = (found.answers != 0).double().mean(0)
    torch.testing.assert_close(found.mean, share / keep)
    torch.testing.assert_close(found.variance, share * (1 - share) / keep**2 * 100 / 99)


def test_closed_form_can_fail(false_alarm: float, seed: int) -> None:
    """The check tells a rate of 0.28 from one of 0.25."""
    kept = int((kept_once(0.28, seed).answers != 0).sum())
    assert stats.binomtest(kept, 20_000, 0.75).pvalue < false_alarm


def test_linear_model(false_alarm: float, seed: int) -> None:
    """Of a linear model the mean is that in eval, within its standard error, and so the variance.

    A sum of 400 dropped terms is all but normal, so that its mean is too, and the variance a
    chi-squared number.
    """
    torch.manual_seed(seed)
    x, n = torch.randn(400), 500
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(400, 1, bias=False))
    found = mc_predict(model, x.unsqueeze(0), n, kind="regression", seed=seed)
    weights = model[1].weight[0].detach().double()
    expected = float(weights @ x.double())
    variance = float((weights * x).square().sum())  # p / (1 - p) is 1
    z = (found.mean.item() - expected) / math.sqrt(variance / n)
    assert 2 * stats.norm.sf(abs(z)) > false_alarm, f"DK_TEST_SEED={seed}"
    ratio = stats.chi2(n - 1).cdf(found.variance.item() / variance * (n - 1))
    assert min(ratio, 1 - ratio) > false_alarm, f"DK_TEST_SEED={seed}"
    assert found.standard_error["mean"].item() == pytest.approx(math.sqrt(variance / n), rel=0.2)


def test_tolerance() -> None:
    """An example gets samples until its standard error is small enough, and no more."""
    model = nn.Sequential(nn.Dropout(0.5))
    x = torch.tensor([0.01, 1.0, 30.0]).unsqueeze(1).repeat(1, 50)
    how = {"kind": "regression", "output": lambda y: y.mean(1, keepdim=True)}
    whole = mc_predict(model, x, 64, **how)
    found = mc_predict(model, x, 64, tolerance=0.03, **how)
    assert [8, 64] == [int(found.samples_used[0]), int(found.samples_used[2])]
    assert 8 < found.samples_used[1] < 64
    assert bool((found.standard_error["mean"][:2] <= 0.03).all())
    for i, used in enumerate(found.samples_used.tolist()):
        assert torch.equal(whole.answers[:used, i], found.answers[:used, i])
        assert bool(found.answers[used:, i].isnan().all())
        assert found.mean[i].item() == pytest.approx(whole.answers[:used, i].mean().item())


def test_compiled_model() -> None:
    """A compiled model gives what the model gives."""
    entry = MODELS["mlp"]
    model = entry.build()
    expected = mc_predict(model, entry.batch, 3).answers
    found = mc_predict(torch.compile(model, backend="eager"), entry.batch, 3).answers
    assert torch.equal(expected, found)


def test_accelerated_model() -> None:
    """So does one that is accelerated already, and in an open block of other names."""
    entry = MODELS["functional"]
    model = entry.build()
    expected = mc_predict(model, entry.batch, 3).answers
    with dropkit.accelerate(model), dropkit.masks_at(5, rows=3):
        assert torch.equal(expected, mc_predict(model, entry.batch, 3).answers)
