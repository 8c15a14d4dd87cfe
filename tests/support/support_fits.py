"""Fits that worker processes can import."""

import os
import signal
import threading
from pathlib import Path

import torch
from torch import nn

import dropkit
from dropkit.studies.trial import Trial


def seeds_fit(trial: Trial) -> dict[str, float]:
    """Metrics that show what the trial was given."""
    model = nn.Sequential(dropkit.nn.Dropout(0.1))
    trial.apply(model)
    with trial.masks(step=3):
        kept = model(torch.ones(64)).count_nonzero().item()
    trial.report(1, loss=1.0)
    return {"loss": trial.seed("split") % 1000, "rate": model[0].p, "kept": kept}


def failing_fit(trial: Trial) -> dict[str, float]:
    """Raises, dies or returns nan in three of the trials."""
    if trial.arm.name == "half":
        if trial.replicate == 0:
            raise ValueError("a line\nand another")
        if trial.replicate == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.replicate == 2:
            return {"loss": float("nan")}
    return {"loss": float(trial.replicate)}


class PidFit:
    """Leaves a file under the number of its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Touch the file."""
        del trial
        (self.folder / str(os.getpid())).touch()
        return {}


def told_fit(trial: Trial) -> dict[str, float]:
    """Trains a little, and says each thing that it does before it does it."""
    print("begin", trial.arm.name, trial.replicate, flush=True)  # noqa: T201 - the test listens
    generator = torch.Generator().manual_seed(trial.seed("split"))
    x = torch.randn(64, 8, generator=generator)
    y = x[:, :1] + torch.randn(64, 1, generator=generator)
    torch.manual_seed(trial.seed("weights"))
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), dropkit.nn.Dropout(), nn.Linear(16, 1))
    trial.apply(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for step in range(4):
        with trial.masks(step):
            loss = nn.functional.mse_loss(net(x[:32]), y[:32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(step, train_loss=loss.item())
        print("step", flush=True)  # noqa: T201 - likewise
    with torch.no_grad():
        return {"loss": nn.functional.mse_loss(net.eval()(x[32:]), y[32:]).item()}


def late_fit(trial: Trial) -> dict[str, float]:
    """Hangs in one trial, and in another stops when it is asked to."""
    if trial.arm.name == "half" and trial.replicate == 0:
        threading.Event().wait()
    if trial.arm.name == "half" and trial.replicate == 1:
        while not trial.should_stop:
            pass
    return {"loss": 1.0}


def diverging_fit(trial: Trial) -> dict[str, float]:
    """Its loss is nan from the second report on; it stops when it is asked to."""
    for step in range(5):
        if trial.should_stop:
            break
        trial.report(step, train_loss=float("nan") if step and trial.replicate == 0 else 1.0)
    return {"loss": float(len(trial.points))}


class WaitingFit:
    """Waits until it is told to stop, leaves a file, and then hangs; one arm is done at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Wait, in one of the arms."""
        if trial.arm.name == "half":
            (self.folder / "begun").touch()
            while not trial.should_stop:
                pass
            (self.folder / "stopped").touch()
            threading.Event().wait()
        while not (self.folder / "begun").exists():
            pass
        return {"loss": 1.0}


def valley_fit(trial: Trial) -> dict[str, float]:
    """The loss is lowest at a rate of 0.3."""
    return {"loss": (trial.arm.highest_rate - 0.3) ** 2 + trial.seed("split") / 2**63}
