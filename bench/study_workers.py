"""How much faster is a study with two workers than with one?

Trials of equal length that keep one core busy; starting the workers counts. The two take turns.
What the machine has to give is measured beside it, without any study: how many trials two bare
processes train in the time that one process takes for one, which is less than 2 where cores share a
cache, memory or a clock. Two to three minutes on two idle cores.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from multiprocessing.synchronize import Barrier

import torch
from _measure import emit, facts
from torch import nn

import dropkit
from dropkit.studies.plan import Arm
from dropkit.studies.study import Study
from dropkit.studies.trial import Trial

ARMS = (Arm("none"), Arm("half", rates=0.5))
STEPS = 800


def fit(trial: Trial) -> dict[str, float]:
    """About a second of training on one thread."""
    torch.manual_seed(trial.seed("weights"))
    net = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), dropkit.nn.Dropout(), nn.Linear(512, 1))
    trial.apply(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    x = torch.randn(256, 256)
    for step in range(STEPS):
        with trial.masks(step):
            loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"loss": loss.item()}


def study_s(workers: int, replicates: int) -> tuple[float, str]:
    """Seconds of a study, and its numbers."""
    begin = time.perf_counter()
    found = Study(fit, ARMS, replicates=replicates, metric="loss", workers=workers).run()
    return time.perf_counter() - begin, json.dumps([record.metrics for record in found.trials])


def train(start: Barrier, n: int) -> None:
    """`n` trials in a bare process, from when all are ready."""
    torch.set_num_threads(1)
    fit(Trial(ARMS[0], 0))
    start.wait()
    for replicate in range(n):
        fit(Trial(ARMS[replicate % 2], replicate))


def bare_s(processes: int, n: int) -> float:
    """Seconds in which each of so many processes trains `n` trials, once all are ready."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes + 1)
    running = [context.Process(target=train, args=(start, n)) for _ in range(processes)]
    for process in running:
        process.start()
    start.wait()
    begin = time.perf_counter()
    for process in running:
        process.join()
    return time.perf_counter() - begin


def main() -> None:
    """Print seconds with one worker and with two, their numbers being the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=10, help="of two trials each")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    bare: dict[int, list[float]] = {1: [], 2: []}
    numbers = set()
    for repeat in range(options.repeats):
        for n in (1, 2) if repeat % 2 else (2, 1):
            took, said = study_s(n, options.replicates)
            seconds[n].append(took)
            numbers.add(said)
            bare[n].append(bare_s(n, max(2, options.replicates // 3)))
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    most = 2 * statistics.median(bare[1]) / statistics.median(bare[2])
    emit(
        {
            "case": "study",
            "n": options.replicates * len(ARMS),
            "one_worker_s": round(one, 2),
            "two_workers_s": round(two, 2),
            "ratio": round(one / two, 2),
            "two_bare_processes": round(most, 2),
            "of_what_there_is": round(one / two / most, 2),
            "same_numbers": len(numbers) == 1,
            "load": os.getloadavg()[0],
            **facts(),
        }
    )


if __name__ == "__main__":
    main()
