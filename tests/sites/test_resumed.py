"""Stop at a step, save, resume: every later rate, mask and weight equals the uninterrupted run."""

import contextlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dropkit
from dropkit import masks_at
from dropkit.nn.schedules import Schedule
from dropkit.sites.scheduled import ScheduledRates, ScheduledSite

N_STEPS = 8
#: Sites that begin, end and never rest, at different steps.
SCHEDULES = {
    "0": Schedule.early(0.3, steps=5, is_linear=True),
    "3": Schedule.late(0.5, start=4),
    "5": Schedule.curriculum(0.4, gamma=0.3),
}
#: How masks get their names at a step.
NAMES: dict[str, Callable[[int], AbstractContextManager[Any]]] = {
    "ambient": lambda _: contextlib.nullcontext(),
    "named": lambda step: masks_at(seed=3, step=step),
    "named, with rows": lambda step: masks_at(
        seed=3, step=step, rows=range(8 * step, 8 * step + 8)
    ),
}


class Run(NamedTuple):
    """A training that can be saved."""

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    rates: ScheduledRates

    @classmethod
    def begun(cls) -> "Run":
        """A new one, at step 0."""
        torch.manual_seed(0)
        drop = dropkit.nn.Dropout
        model = nn.Sequential(
            drop(0.9), nn.Linear(6, 16), nn.ReLU(), drop(0.9), nn.Linear(16, 1), drop(0.9)
        )
        sites = [
            ScheduledSite(name, schedule, lambda p, layer=model[int(name)]: setattr(layer, "p", p))
            for name, schedule in SCHEDULES.items()
        ]
        return cls(model, torch.optim.AdamW(model.parameters(), 0.05), ScheduledRates(sites))

    def saved(self, file: Any) -> None:
        """Write all that the next step depends on."""
        state = {name: part.state_dict() for name, part in self._asdict().items()}
        torch.save({**state, "generator": torch.get_rng_state()}, file)

    def resumed(self, file: Any) -> "Run":
        """Take all of it over, read without running what a file might hold."""
        state = torch.load(file, weights_only=True)
        torch.set_rng_state(state.pop("generator"))
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)
        return self

    def trained(self, until: int, name_at: Any, step_of: Callable[..., Tensor]) -> list[Any]:
        """Train up to a step; rates, what each site dropped, and the loss, a step at a time."""
        seen: list[Any] = []
        hooks = [
            layer.register_forward_hook(lambda _, x, y: seen.append((x[0] != 0) & (y == 0)))
            for layer in self.model
            if isinstance(layer, dropkit.nn.Dropout)
        ]
        while (step := self.rates.current_step) < until:
            x = torch.linspace(0.1, 1, 48).roll(step).reshape(8, 6)
            with name_at(step):
                loss = step_of(self.model, x).square().mean()
                loss.backward()
            seen += [dict(self.rates.rates), loss.detach()]
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.rates.step()
        for hook in hooks:
            hook.remove()
        return [*seen, *(p.detach().clone() for p in self.model.parameters())]


def equal(a: Any, b: Any) -> bool:
    """Bit by bit."""
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def plain(model: nn.Module, x: Tensor) -> Tensor:
    """A forward."""
    return model(x)


def checkpointed(model: nn.Module, x: Tensor) -> Tensor:
    """A forward whose activations are computed again in backward."""
    return checkpoint(model, x, use_reentrant=False)


def _interrupted(at: int, name_at: Any, step_of: Any) -> list[Any]:
    first = Run.begun()
    before = first.trained(at, name_at, step_of)[: -len(list(first.model.parameters()))]
    file = io.BytesIO()
    first.saved(file)
    file.seek(0)
    torch.rand(1000)  # another process stands somewhere else
    return before + Run.begun().resumed(file).trained(N_STEPS, name_at, step_of)


@pytest.mark.parametrize("name_at", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("step_of", [plain, checkpointed])
@pytest.mark.parametrize("at", [0, 3, 5, N_STEPS])
def test_resumed_is_uninterrupted(at: int, name_at: Any, step_of: Any) -> None:
    """Wherever it stops: the same rates, masks, losses and weights, to the bit."""
    whole = Run.begun().trained(N_STEPS, name_at, step_of)
    parts = _interrupted(at, name_at, step_of)
    assert len(whole) == len(parts)
    assert all(equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.filterwarnings("ignore")  # compiling at all makes torch's own code warn
@pytest.mark.parametrize("name", ["ambient", "named"])
def test_resumed_and_compiled(name: str) -> None:
    """So it is with a compiled model: its graphs ask for the rates that were loaded."""

    def compiled(model: nn.Module, x: Tensor) -> Tensor:
        return torch.compile(model, backend="aot_eager")(x)

    torch._dynamo.reset()
    whole = Run.begun().trained(N_STEPS, NAMES[name], compiled)
    parts = _interrupted(3, NAMES[name], compiled)
    assert all(equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize("lost", ["generator", "rates"])
def test_check_can_fail(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the state of the generator, or that of the rates, the check sees it."""
    name_at = NAMES["ambient"]
    whole = Run.begun().trained(N_STEPS, name_at, plain)
    if lost == "rates":
        forgotten = {**ScheduledRates.state_dict(Run.begun().rates), "step": 4}
        monkeypatch.setattr(ScheduledRates, "state_dict", lambda _: forgotten)
    else:
        monkeypatch.setattr(torch, "set_rng_state", lambda _: None)
    parts = _interrupted(3, name_at, plain)
    assert not all(equal(a, b) for a, b in zip(whole, parts, strict=False))


SCRIPT = """
import os, torch, dropkit
from dropkit.nn.schedules import Schedule
from dropkit.sites.scheduled import ScheduledRates, ScheduledSite

layer, file = dropkit.nn.Dropout(0.9), os.environ["FILE"]
schedule = Schedule.linear(0.1, 0.9, steps=5)
rates = ScheduledRates([ScheduledSite("drop", schedule, lambda p: setattr(layer, "p", p))])
if os.path.exists(file):
    rates.load_state_dict(torch.load(file, weights_only=True))
for _ in range(int(os.environ["STEPS"])):
    with dropkit.masks_at(seed=1, step=rates.current_step):
        print(layer.p, layer(torch.ones(64)).tolist())
    rates.step()
torch.save(rates.state_dict(), file)
"""


def test_in_another_process(tmp_path: Path, run_python: Any) -> None:
    """Rates and named masks go on in a new process from nothing but the file."""

    def lines(file: str, steps: int) -> list[str]:
        done = run_python(SCRIPT, FILE=str(tmp_path / file), STEPS=str(steps))
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout.splitlines()

    whole = lines("whole.pt", 5)
    assert (5, 5) == (len(whole), len(set(whole)))
    assert whole == lines("parts.pt", 2) + lines("parts.pt", 3)
