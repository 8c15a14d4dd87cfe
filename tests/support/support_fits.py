"""Fits that worker processes can import."""

import os
import signal
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
