"""The zoo of models that tests share: each runs, learns, and drops where it is said to."""

import sys
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from support_models import MODELS, Entry

TORCH = torch.__path__[0]
#: Functions that drop; whatever else draws is a mask made by hand.
DROPPERS = {"dropout", "dropout2d", "scaled_dot_product_attention", "lstm"}
DROPPERS |= {"multi_head_attention_forward"}
#: The chance that LayerDrop, at the zoo's highest 0.3, skips a layer in all of these is 4e-11.
FORWARDS = 20

#: The module, and the call in it: file and instruction; None where torch's module itself drops.
Place = tuple[int, tuple[str, int] | None]


def place(frame: FrameType | None) -> Place:
    """The innermost module whose forward runs, and which of its own calls led here."""
    call = None
    while frame is not None:
        code = frame.f_code
        if code is nn.Module._call_impl.__code__:
            return id(frame.f_locals["self"]), call
        if call is None and not code.co_filename.startswith(TORCH):
            call = code.co_filename, frame.f_lasti
        frame = frame.f_back
    raise AssertionError("a draw outside every module")


class Draws(TorchFunctionMode):
    """Notes each call of torch that moves the default generator, whatever it calls itself."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[Place, str] = {}
        self.state = torch.get_rng_state()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, and note it if the generator has moved."""
        before = torch.get_rng_state()
        assert torch.equal(self.state, before), "something drew between two calls of torch"
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.state = torch.get_rng_state()
            if not torch.equal(before, self.state):
                self.places[place(sys._getframe(1))] = func.__name__


def drawn(entry: Entry, model: nn.Module) -> dict[Place, str]:
    """Where some forwards of `model` draw, and with which function."""
    with Draws() as draws:
        for _ in range(FORWARDS if entry.by_hand else 1):
            entry.run(model)
    assert torch.equal(draws.state, torch.get_rng_state()), "something drew after the last call"
    return draws.places


@pytest.fixture(params=MODELS)
def entry(request) -> Entry:
    """Each model, where its packages are installed."""
    found = MODELS[request.param]
    for package in found.needs:
        pytest.importorskip(package)
    return found


def test_places(entry) -> None:
    """In training the generator moves at as many places as the entry states, in use at none."""
    model = entry.build()
    assert model.training
    places = drawn(entry, model)
    by_hand = [name for name in places.values() if name not in DROPPERS]
    assert (entry.places, entry.by_hand) == (len(places), len(by_hand)), places
    assert drawn(entry, model.eval()) == {}


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith(", sdpa")])
def test_attention_is_as_named(name) -> None:
    """Torch's attention drops in the models called sdpa, and only in them."""
    for package in MODELS[name].needs:
        pytest.importorskip(package)
    for entry in (MODELS[name], MODELS[name.replace("sdpa", "eager")]):
        functions = set(drawn(entry, entry.build()).values())
        assert ("scaled_dot_product_attention" in functions) == entry.name.endswith(", sdpa")


def test_learns(entry) -> None:
    """The loss is finite in both modes, and in use every weight that learns gets a gradient."""
    model = entry.build()
    assert entry.loss(entry.run(model)).isfinite()
    loss = entry.loss(entry.run(model.eval()))
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [] == [n for n, grad in grads.items() if grad is None or not grad.isfinite().all()]
    assert any(grad.count_nonzero() for grad in grads.values())


def test_is_the_same_each_time(entry) -> None:
    """Two builds have equal weights, and leave the caller's generator where it was."""
    state = torch.get_rng_state()
    first, second = (entry.build().state_dict() for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


class Twice(nn.Module):
    """Two draws in one line, a third by a function that calls itself something else."""

    def forward(self, x: Tensor) -> Tensor:
        """Draw three times."""
        x = nn.functional.dropout(x) * nn.functional.dropout(x)
        return x + torch.normal(0.0, 1.0, x.shape)


def test_the_measure_can_fail() -> None:
    """Two calls in a line are two places, and an unknown function that draws is seen."""
    entry = Entry("twice", Twice, torch.ones(4), torch.sum, places=3, by_hand=1)
    places = drawn(entry, entry.build())
    assert ["dropout", "dropout", "normal"] == sorted(places.values())
