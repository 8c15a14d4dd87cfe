"""Where an address comes from: torch's generator, or the names inside `masks_at`."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit import Address, masks_at
from dropkit.errors import AddressError
from dropkit.functional import dropout


class Wrapped(nn.Module):
    """What DataParallel does to names: everything sits below ``module``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Call the module."""
        return self.module(x)


def _drawn(n: int = 200) -> list[float]:
    return dropout(torch.ones(n), 0.5).tolist()


def _named(call: Callable[[Tensor], Tensor] = dropout, **names: Any) -> list[float]:
    with masks_at(**names):
        return call(torch.ones(200)).tolist()


# Ambient


def test_manual_seed_governs(seed: int) -> None:
    """The same torch seed gives the same masks, one call after another."""
    torch.manual_seed(seed)
    first = [_drawn(), _drawn()]
    torch.manual_seed(seed)
    assert first == [_drawn(), _drawn()]
    assert first[0] != first[1]


def test_fork_rng_restores() -> None:
    """What is drawn inside ``fork_rng`` leaves no trace behind it."""
    state = torch.get_rng_state()
    with torch.random.fork_rng():
        inside = _drawn()
    assert torch.equal(state, torch.get_rng_state())
    assert inside == _drawn()


def test_ambient_advances_the_generator() -> None:
    """Each call advances torch's default generator, whatever the size of the tensor."""
    state = torch.get_rng_state()
    _drawn(1)
    after_small = torch.get_rng_state()
    torch.set_rng_state(state)
    _drawn(2000)
    assert not torch.equal(state, after_small)
    assert torch.equal(after_small, torch.get_rng_state())


def test_explicit_and_named_leave_the_generator_alone() -> None:
    """A call that has an address draws nothing from torch."""
    state = torch.get_rng_state()
    dropout(torch.ones(9), 0.5, address=Address.from_seed(1))
    _named(seed=3)
    assert torch.equal(state, torch.get_rng_state())


# Named


def test_replays() -> None:
    """The same names give the same masks, bit for bit."""
    assert _named(seed=1, step=2, sample=3) == _named(seed=1, step=2, sample=3)


def test_the_documented_address() -> None:
    """The address is seed, step, sample, site name and ordinal, folded in this order."""
    root = Address.from_seed(1).fold(2).fold(3)
    x = torch.ones(200)
    model = nn.Sequential(nn.Identity(), nn.Sequential(dropkit.nn.Dropout(0.5)))
    with masks_at(seed=1, step=2, sample=3):
        first, second, named = dropout(x, 0.5), dropout(x, 0.5), model(x)
    assert torch.equal(dropout(x, 0.5, address=root.fold("").fold(0)), first)
    assert torch.equal(dropout(x, 0.5, address=root.fold("").fold(1)), second)
    assert torch.equal(dropout(x, 0.5, address=root.fold("1.0").fold(0)), named)


def test_each_name_matters() -> None:
    """Another seed, step, sample, ordinal or site is another mask."""
    model = nn.Sequential(nn.Identity(), dropkit.nn.Dropout(0.5))
    with masks_at(seed=1):
        twice = [_drawn(), _drawn(), model(torch.ones(200)).tolist()]
    others = [_named(seed=2), _named(seed=1, step=1), _named(seed=1, sample=1)]
    assert 6 == len({tuple(mask) for mask in [*twice, *others]})


def test_a_new_site_leaves_the_others_alone() -> None:
    """A named site keeps its mask where another dropout is added before it."""

    class Net(nn.Module):
        def __init__(self, *, has_early: bool) -> None:
            super().__init__()
            self.early = dropkit.nn.Dropout(0.5) if has_early else nn.Identity()
            self.late = dropkit.nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            self.early(x)
            return self.late(x)

    assert _named(Net(has_early=False), seed=1) == _named(Net(has_early=True), seed=1)


@pytest.mark.parametrize(
    "inner",
    [
        lambda: nn.Sequential(nn.Identity(), dropkit.nn.Dropout(0.5)),
        lambda: dropkit.nn.Dropout(0.5),
    ],
    ids=["in a model", "the model itself"],
)
def test_wrappers_have_no_name(inner: Callable[[], nn.Module]) -> None:
    """Wrapping a model as DataParallel does leaves its masks as they were."""
    assert _named(inner(), seed=1) == _named(Wrapped(Wrapped(inner())), seed=1)


def test_blocks_nest() -> None:
    """The inner block rules; the outer one counts on where it stood."""
    with masks_at(seed=1):
        first = _drawn()
        with masks_at(seed=2):
            inner = _drawn()
        second = _drawn()
    with masks_at(seed=1):
        assert [first, second] == [_drawn(), _drawn()]
    assert _named(seed=2) == inner


def test_after_the_block() -> None:
    """Behind the block torch's generator governs again, also after an error."""
    torch.manual_seed(4)
    ambient = _drawn()
    torch.manual_seed(4)
    with pytest.raises(RuntimeError, match=r"^inside$"), masks_at(seed=1):
        raise RuntimeError("inside")
    assert ambient == _drawn()


def test_block_object_may_be_used_again() -> None:
    """Each ``with`` on one object counts anew, also one inside the other."""
    block = masks_at(seed=1)
    with block:
        first = _drawn()
        with block:
            inner = _drawn()
        second = _drawn()
    with block:
        assert [first, second] == [_drawn(), _drawn()]
    assert first == inner


def test_decorator() -> None:
    """A decorated function draws the same masks at each call."""

    @masks_at(seed=1)
    def drawn() -> list[float]:
        return _drawn()

    assert _named(seed=1) == drawn()
    assert drawn() == drawn()


@pytest.mark.parametrize("name", ["seed", "step", "sample", "rows"])
@pytest.mark.parametrize(("value", "shown"), [(-1, "-1"), (2**64, "18446744073709551616")])
def test_names_are_whole_numbers(name: str, value: int, shown: str) -> None:
    """A number outside [0, 2**64) is refused where the block is made."""
    message = f"`{name}` must be a whole number in [0, 2**64); got {shown}."
    with pytest.raises(AddressError, match="^" + re.escape(message) + "$"):
        masks_at(**{"seed": 0, name: value})


@pytest.mark.parametrize("name", ["seed", "step", "sample"])
def test_names_are_not_floats(name: str) -> None:
    """A float names nothing."""
    message = f"`{name}` must be a whole number in [0, 2**64); got 1.0."
    with pytest.raises(AddressError, match="^" + re.escape(message) + "$"):
        masks_at(**{"seed": 0, name: 1.0})
