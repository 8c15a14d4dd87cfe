"""How much faster is a study with two workers than with one?

Trials of equal length that keep one core busy; starting the workers counts. The two take turns.
"""

import argparse
import json
import os
import statistics
import time

import torch
from _measure import emit, facts
from torch import nn

import dropkit
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

ARMS = (Arm("none"), Arm("half", rates=0.5))


def fit(trial: Trial) -> dict[str, float]:
    """A few seconds of training on one thread."""
    torch.manual_seed(trial.seed("weights"))
    net = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), dropkit.nn.Dropout(), nn.Linear(512, 1))
    trial.apply(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    x = torch.randn(256, 256)
    for step in range(800):
        with trial.masks(step):
            loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"loss": loss.item()}


def main() -> None:
    """Print seconds with one worker and with two, their numbers being the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    numbers = set()
    for repeat in range(options.repeats):
        for workers in (1, 2) if repeat % 2 else (2, 1):
            begin = time.perf_counter()
            study = Study(fit, ARMS, replicates=options.replicates, metric="loss", workers=workers)
            found = study.run()
            seconds[workers].append(time.perf_counter() - begin)
            numbers.add(json.dumps([record.metrics for record in found.trials]))
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    emit(
        {
            "case": "study",
            "n": options.replicates * len(ARMS),
            "one_worker_s": round(one, 2),
            "two_workers_s": round(two, 2),
            "ratio": round(one / two, 2),
            "same_numbers": len(numbers) == 1,
            "load": os.getloadavg()[0],
            **facts(),
        }
    )


if __name__ == "__main__":
    main()
