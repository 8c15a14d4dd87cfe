"""A trace leaves the model untouched, goes through all kinds of models, and says what it missed."""

import json
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import dropkit
from dropkit.errors import OptionError
from dropkit.sites.replaced import PLACES
from support_models import MODELS, Entry

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")

HANDFUL = ["mlp", "dropout2d before batch norm", "functional", "stochastic depth", "bert, sdpa"]


def _state(model: nn.Module) -> tuple[Any, ...]:
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    return (
        [x.clone() for x in model.state_dict().values()],
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        hooks,
        repr(model),
        [p.grad is None for p in model.parameters()],
    )


def _check(entry: Entry) -> dropkit.Trace:
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    before, generator = _state(model), torch.get_rng_state()
    found = dropkit.trace(model, entry.batch, entry.loss, samples=2)
    after = _state(model)
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]
    assert torch.equal(generator, torch.get_rng_state())
    assert [] == [name for holder, name, theirs, _ in PLACES if getattr(holder, name) != theirs]
    assert entry.places == len(found.sites) == len({row.site.name for row in found.sites})
    assert all(row.total is not None and 0.0 <= row.total.value <= 1.0 for row in found.sites)
    assert all(row.address is not None for row in found.sites)
    json.dumps(found.to_dict())
    return found


@pytest.mark.parametrize("name", HANDFUL)
def test_some_models(name: str) -> None:
    """Every site has a row, and the model is as before to the bit."""
    _check(MODELS[name])


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in MODELS if name not in HANDFUL])
def test_all_models(name: str) -> None:
    """Likewise for the rest of the zoo."""
    _check(MODELS[name])


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))


def test_is_the_same_each_time() -> None:
    """A trace has no chance in it but the seed's; another seed gives other numbers."""
    one, again, other = (
        dropkit.trace(_mlp_seeded(), torch.ones(8, 4), torch.mean, samples=4, seed=seed)
        for seed in (0, 0, 1)
    )
    assert one.loss == again.loss
    assert one.sites[0].penalty == again.sites[0].penalty
    assert one.loss != other.loss


def _mlp_seeded() -> nn.Sequential:
    torch.manual_seed(0)
    return _mlp()


def test_frozen_model() -> None:
    """Where no parameter learns there is leverage all the same, and no backward."""
    model = _mlp().requires_grad_(False)
    found = dropkit.trace(model, torch.randn(8, 4), torch.mean, samples=4)
    (row,) = found.sites
    assert row.total.value == 1.0
    assert row.gradient_kept is None
    assert row.backward_share is None
    assert not any(p.requires_grad for p in model.parameters())


def test_under_autocast() -> None:
    """The runs are autocast as the caller's are."""
    seen: set[torch.dtype] = set()

    def loss(y: Tensor) -> Tensor:
        seen.add(y.dtype)
        return y.float().mean()

    with torch.autocast("cpu", torch.bfloat16):
        found = dropkit.trace(_mlp(), torch.randn(8, 4), loss, samples=4)
    assert {torch.bfloat16} == seen
    assert found.sites[0].total.value == 1.0


def test_model_in_eval() -> None:
    """A model in eval is traced as in training, and is in eval afterwards."""
    model = _mlp().eval()
    found = dropkit.trace(model, torch.randn(8, 4), torch.mean, samples=4)
    assert len(found.sites) == 1
    assert not any(module.training for module in model.modules())


def test_without_a_loss() -> None:
    """Leverage is on the output then, there is no penalty, and the trace says so."""
    found = dropkit.trace(_mlp(), torch.randn(8, 4), samples=4)
    (row,) = found.sites
    assert ("output", None, None) == (found.target, row.total, row.penalty)
    assert row.leverage == row.output_total
    assert (
        "No loss was given: leverage is on the output, and there is no penalty." in found.not_seen
    )


def test_models_own_loss() -> None:
    """A model that computes its loss itself needs none named."""

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = _mlp()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.body(x)
            return {"loss": y.square().mean(), "logits": y}

    found = dropkit.trace(WithLoss(), torch.randn(8, 4), samples=4)
    assert "loss" == found.target
    assert found.loss is not None


class _Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x) + torch.normal(0.0, 1.0, x.shape)


def test_other_randomness_is_named() -> None:
    """What draws beside dropout is frozen, so that the site alone moves the result, and named."""
    found = dropkit.trace(_Noisy(), torch.ones(4, 8), torch.mean, samples=4)
    assert found.sites[0].total.value == 1.0
    assert (
        "Something else than dropout draws random numbers. They were frozen at one draw."
        in found.not_seen
    )


class _Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop, self.calls = nn.Dropout(0.5), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.drop(x) + self.calls


def test_result_that_changes_by_itself_is_named() -> None:
    """A model that does not repeat under equal masks is found out."""
    found = dropkit.trace(_Counting(), torch.ones(4, 8), torch.mean, samples=4)
    assert any(one.startswith("Two runs under the same masks gave") for one in found.not_seen)


def test_no_dropout() -> None:
    """A model without dropout has an empty trace that says so."""
    found = dropkit.trace(nn.Linear(2, 2), torch.ones(1, 2), torch.mean, samples=2)
    assert () == found.sites
    assert ("The model draws no mask in training: there is nothing to trace.",) == found.not_seen


def test_functions_have_addresses_of_their_own() -> None:
    """Two calls of functions in one module are redrawn one by one."""

    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a = F.dropout(x, 0.5, self.training)
            b = F.dropout(x, 0.2, self.training)
            return a.sum(1) + 3.0 * b.sum(1)

    found = dropkit.trace(Two(), torch.ones(256, 20), lambda y: y, samples=32)
    shares = {row.site.name: row.total.value for row in found.sites}
    assert {"dropout", "dropout#2"} == set(shares)
    assert "b = F.dropout(x, 0.2, self.training)" == found["dropout#2"].code
    expected = 1.0 / (1.0 + 9.0 * 0.25)
    assert expected == pytest.approx(shares["dropout"], abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 1}, "`samples` must be a whole number from 2 up; got 1."),
        ({"samples": 2.5}, "`samples` must be a whole number from 2 up; got 2.5."),
        (
            {"loss": lambda _: 1.0},
            "`loss` must return a floating-point tensor, one number or one an example; "
            "got a float.",
        ),
        (
            {"loss": lambda y: y.sum() * torch.nan},
            "`loss` must be finite on this batch; got nan or infinity.",
        ),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    """One clear sentence, and the model is left as it was."""
    model = _mlp()
    before = _state(model)
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        dropkit.trace(model, torch.ones(2, 4), **{"loss": torch.mean, **change})
    assert before[1:] == _state(model)[1:]
