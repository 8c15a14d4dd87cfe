"""On every model of the zoo: accelerated, it is the same model in eval, and in training in law."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import dropkit
from dropkit.core import attention_route, noise_route, route
from support_entry import tensors
from support_models import MODELS, Entry

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
N_FORWARDS = 64
#: One of each way to drop; the others are compared on demand.
QUICK = {"mlp", "functional", "nn.LSTM", "bernoulli", "bert, eager", "bert, sdpa", "whisper, sdpa"}


@pytest.fixture(params=list(MODELS))
def entry(request) -> Entry:
    """A model of the zoo."""
    entry = MODELS[request.param]
    for package in entry.needs:
        pytest.importorskip(package)
    return entry


def test_same_model_in_eval(entry: Entry) -> None:
    """Outputs are bit-equal, and repr, state dict and sites are as before."""
    model = entry.build()
    sites, shown, state = dropkit.find_sites(model, entry.batch), repr(model), [*model.state_dict()]
    expected = tensors(entry.run(model.eval()))
    with dropkit.accelerate(model):
        found = tensors(entry.run(model))
        assert (shown, state) == (repr(model), [*model.state_dict()])
        assert sites == dropkit.find_sites(model.train(), entry.batch)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_no_number_of_torchs_generator(entry: Entry) -> None:
    """Under named masks nothing is drawn elsewhere: torch's generator stands, and masks replay."""
    model = entry.build()
    before = torch.get_rng_state()
    outputs = []
    with dropkit.accelerate(model):
        for _ in range(2):
            with dropkit.masks_at(seed=0), torch.no_grad():
                outputs.append(tensors(entry.run(model)))
    assert torch.equal(before, torch.get_rng_state())
    is_normalized = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    assert is_normalized or all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def effects(entry: Entry, model: nn.Module) -> tuple[list[float], list[float]]:
    """Loss, and squared distance of the output from that without dropout, under many masks."""
    with torch.no_grad():
        with dropkit.silence(model):
            center = tensors(entry.run(model))[-1]
        outputs = [entry.run(model) for _ in range(N_FORWARDS)]
        distances = [(tensors(out)[-1] - center).square().sum().item() for out in outputs]
        return [entry.loss(out).item() for out in outputs], distances


def check_law(entry: Entry, false_alarm: float) -> None:
    """What torch's masks do and what dropkit's do is of one law, as far as ranks can tell."""
    model = entry.build()
    torchs = effects(entry, model)
    with dropkit.accelerate(model):
        ours = effects(entry, model)
    for a, b in zip(torchs, ours, strict=True):
        assert stats.ks_2samp(a, b).pvalue > false_alarm


@pytest.mark.parametrize("name", sorted(QUICK))
def test_training_is_of_one_law(name: str, false_alarm: float) -> None:
    """Losses and outputs of an accelerated model in training are distributed as before."""
    check_law(MODELS[name], false_alarm)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(MODELS.keys() - QUICK))
def test_training_is_of_one_law_everywhere(name: str, false_alarm: float) -> None:
    """Likewise on the rest of the zoo."""
    check_law(MODELS[name], false_alarm)


def test_law_check_can_fail(false_alarm: float) -> None:
    """The check tells the rates of the model from 0.5."""
    entry = MODELS["mlp"]
    model = entry.build()
    few = effects(entry, model)[1]
    with dropkit.set_rates(model, 0.5):
        many = effects(entry, model)[1]
    assert stats.ks_2samp(few, many).pvalue < false_alarm


def gradients(entry: Entry, model: nn.Module) -> list[Tensor]:
    """Of the loss under one set of masks, by every parameter."""
    model.zero_grad()
    with dropkit.masks_at(seed=0):
        entry.loss(entry.run(model)).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def multiplied(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Dropout as a product with a constant mask, which torch itself differentiates."""

    def drop(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            mask = draw(torch.ones_like(x), *args, **kwargs)
        return x * mask

    return drop


def test_gradients(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients are those of a product with the mask that was drawn, in attention too."""
    model = entry.build()
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        pytest.skip("batch norm has other statistics in the second forward")
    with dropkit.accelerate(model):
        found = gradients(entry, model)
        plain, noisy = multiplied(route.dropout), multiplied(noise_route.dropout)
        attend = attention_route.composed
        monkeypatch.setattr(route, "dropout", plain)
        monkeypatch.setattr(route, "dropout_", plain)
        monkeypatch.setattr(noise_route, "dropout", noisy)
        monkeypatch.setattr(
            attention_route,
            "attend",
            lambda inputs, shape, threshold, how, **names: attend(
                inputs, *how, lambda p: plain(p.reshape(shape), threshold, **names).view_as(p)
            ),
        )
        expected = gradients(entry, model)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_gradient_check_can_fail() -> None:
    """Other masks give gradients that the check above tells apart."""
    entry = MODELS["mlp"]
    model = entry.build()
    with dropkit.accelerate(model):
        found = gradients(entry, model)
        with dropkit.set_rates(model, 0.11):
            others = gradients(entry, model)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(found, others, rtol=1e-4, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "bert, eager",
        "bert, sdpa",
        "gpt-2, sdpa",
        "llama, sdpa",
        "nn.LSTM",
        "t5, eager",
        "vit, sdpa",
    ],
)
def test_compiled_models_draw_the_same_masks(name: str) -> None:
    """An accelerated model that is compiled gives what it gives in eager mode under one name."""
    entry = MODELS[name]
    for package in entry.needs:
        pytest.importorskip(package)
    model = entry.build()
    torch._dynamo.reset()
    outputs = []
    with dropkit.accelerate(model), torch.no_grad():
        for _ in range(2):
            with dropkit.masks_at(seed=0):
                outputs.append(tensors(entry.run(model)))
            model.compile(backend="aot_eager")
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)
