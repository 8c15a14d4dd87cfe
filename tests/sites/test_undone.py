"""Whatever was done to a model is undone in any order, and touches nothing else."""

import gc
import itertools
import threading
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import dropkit
from dropkit import awaken, find_sites, set_rates, silence
from dropkit.sites.change import Change
from support_sites import MIXED, Mixed, active, functions_replaced, rates

X = torch.linspace(-1, 1, 64 * 6).reshape(64, 6)

CHANGES: dict[str, Callable[[nn.Module], Change]] = {
    "set_rates": lambda model: set_rates(model, 0.25),
    "set_rates by name": lambda model: set_rates(model, {"drop": 0.1, "dropout#2": 0.0}),
    "silence": silence,
    "awaken": awaken,
    "awaken one": lambda model: awaken(model, "dropout"),
}


def _all_of(model: Mixed) -> tuple[object, ...]:
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    return model.drop.p, model.rate, modes, hooks, type(model.drop), functions_replaced()


@pytest.mark.parametrize("names", list(itertools.combinations(CHANGES, 3)))
def test_undone_in_any_order(names: tuple[str, ...]) -> None:
    """Three changes that overlap leave nothing behind, whichever is undone first."""
    model = Mixed()
    before, sites = _all_of(model), find_sites(model, X)
    for order in itertools.permutations(range(3)):
        changes = [CHANGES[name](model) for name in names]
        for i in order:
            changes[i].undo()
        assert before == _all_of(model), order
    assert sites == find_sites(model, X)


def test_what_was_set_last_holds() -> None:
    """Undoing an earlier change leaves the later one in force, and takes its own away for good."""
    model = Mixed()
    first, second, third = (set_rates(model, {"drop": p}) for p in (0.1, 0.2, 0.3))
    second.undo()
    assert 0.3 == model.drop.p
    third.undo()
    assert 0.1 == model.drop.p
    first.undo()
    assert 0.5 == model.drop.p
    quiet = silence(model)
    change = set_rates(model, 0.9)
    quiet.undo()
    assert dict.fromkeys(MIXED, 0.9) == rates(model, X)
    change.undo()
    assert MIXED == rates(model, X)


@pytest.mark.parametrize("name", CHANGES)
def test_a_forgotten_handle(name: str) -> None:
    """A change that nobody can undo any more stays, also when an earlier one is undone."""
    model, other = Mixed(), Mixed()
    earlier = set_rates(model, 0.7)
    CHANGES[name](model)
    kept, _ = CHANGES[name](other), gc.collect()
    expected = find_sites(other, X)
    earlier.undo()
    assert [site.active for site in expected] == [site.active for site in find_sites(model, X)]
    if "awaken" not in name:
        found = rates(model, X)
        assert {s.name: s.rate for s in expected if s.name != "dropout"} == {
            key: rate for key, rate in found.items() if key != "dropout"
        }
    kept.undo()


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_models_can_be_collected(name: str, is_kept: bool) -> None:
    """A change keeps no model alive, and with the model go its replaced functions."""
    model = Mixed()
    change: Change | None = CHANGES[name](model)
    assert functions_replaced()
    gone = weakref.ref(model)
    if not is_kept:
        del change
    del model
    gc.collect()
    if is_kept:  # the handle holds what it would put back; not the model
        change.undo()
        del change
    gc.collect()
    assert gone() is None
    assert [] == functions_replaced()


def test_a_model_that_was_looked_at_can_be_collected() -> None:
    """Finding sites keeps nothing of the model."""
    model = Mixed()
    find_sites(model, X)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class Failing(Mixed):
    """Raises in the middle of its forward."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop, then fail."""
        super().forward(x)
        raise ZeroDivisionError


def test_a_forward_that_raises() -> None:
    """The error goes on its way, and rates, modes, hooks, functions and generator are as before."""
    model = Failing().eval()
    before, generator = _all_of(model), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        find_sites(model, X)
    with pytest.raises(ZeroDivisionError), silence(model), set_rates(model, 0.1), awaken(model):
        model(X)
    assert before == _all_of(model)
    assert torch.equal(generator, torch.get_rng_state())


@pytest.mark.parametrize("name", CHANGES)
def test_another_model_is_left_alone(name: str) -> None:
    """The rates, modes and masks of another model of the same class stay."""
    model, other = Mixed(), Mixed()
    torch.manual_seed(3)
    expected = other(X)
    with CHANGES[name](model):
        torch.manual_seed(3)
        assert torch.equal(expected, other(X))
        assert MIXED == rates(other, X)


def test_two_models_in_two_threads() -> None:
    """While one is silenced, it is silent in every thread, and the other one draws."""
    silent, loud, wrong = Mixed(), Mixed(), []

    def work(model: nn.Module, is_silent: bool) -> None:
        wrong.extend(i for i in range(30) if torch.equal(model(X), model(X)) != is_silent)

    with silence(silent):
        threads = [threading.Thread(target=work, args=(m, m is silent)) for m in (silent, loud)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [] == wrong


def test_finding_in_two_threads() -> None:
    """Two threads that look at two models see only their own."""
    wrong: list[object] = []

    def work(model: Mixed) -> None:
        found = [rates(model, X) for _ in range(10)]
        wrong.extend(one for one in found if one != {**MIXED, "drop": model.drop.p})

    models = [Mixed(), Mixed()]
    models[1].drop.p = 0.9
    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong
    assert [] == functions_replaced()
    assert "default" == torch._dynamo.eval_frame._stance.stance, "what compiles does not any more"


@pytest.mark.parametrize("name", CHANGES)
def test_copies(name: str, again: Callable[[nn.Module], nn.Module]) -> None:
    """A copy made meanwhile has the rates and modes of modules, and is on its own from then on."""
    model = Mixed()
    with CHANGES[name](model):
        copied = again(model)
        modes = [module.training for module in model.modules()]
        assert model.drop.p == copied.drop.p
        assert modes == [module.training for module in copied.modules()]
        found = rates(copied, X)
        assert (0.4, 0.3) == (found["dropout"], found["dropout#2"])
    assert found == rates(copied, X)
    assert MIXED == rates(again(model), X)
    copied.train()
    assert {name for name, rate in found.items() if rate} == set(active(copied, X))


def test_a_change_after_a_user_wrote() -> None:
    """A rate that a user writes between two changes comes back with the second one."""
    model = Mixed()
    first = set_rates(model, {"drop": 0.1})
    model.drop.p = 0.6
    with set_rates(model, {"drop": 0.2}):
        pass
    assert 0.6 == model.drop.p
    first.undo()
    assert 0.5 == model.drop.p


def test_a_schedule_goes_on_below_a_later_change() -> None:
    """A step of a schedule wakes nothing that was silenced later, and holds once that is undone."""
    model = Mixed()
    schedule = set_rates(model, {"drop": dropkit.Schedule.linear(0.0, 1.0, steps=4)})
    quiet = silence(model)
    schedule.step()
    assert 0.0 == model.drop.p
    quiet.undo()
    assert 0.25 == model.drop.p
    schedule.step()
    assert 0.5 == model.drop.p
    quiet = silence(model)
    schedule.undo()
    schedule.step()
    assert 0.0 == model.drop.p
    quiet.undo()
    assert 0.5 == model.drop.p


def test_batch_norm_stays_in_eval_when_undone_early() -> None:
    """Two models woken in one another: modes come back whichever is undone first."""
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5))
    model[0].eval()
    first, second = dropkit.awaken(model), dropkit.awaken(model, "1")
    first.undo()
    assert [False, False, True] == [module.training for module in model.modules()]
    second.undo()
    assert [True, False, True] == [module.training for module in model.modules()]


def test_export_of_another_model_is_torchs() -> None:
    """While one model's rates are set in its code, another's graph has torch's own dropout."""

    class Coded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.1, self.training)

    other, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.25)), torch.ones(2, 4)
    coded = Coded()
    with dropkit.set_rates(coded, 0.3):
        program = torch.export.export(other, (x,))
        assert "aten.dropout.default" in program.graph_module.code.replace("torch.ops.", "")
    with dropkit.accelerate(other):
        program = torch.export.export(other, (x,))
        assert "dropkit.dropout.default" in program.graph_module.code.replace("torch.ops.", "")
