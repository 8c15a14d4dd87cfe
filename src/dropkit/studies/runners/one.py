"""Run one trial, whatever becomes of it."""

import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dropkit.studies.result import TrialRecord
from dropkit.studies.trial import Fit, Line, Trial, time_is_over


def run_trial(fit: Fit, trial: Trial, line: Line, *, threads: int) -> TrialRecord:
    """Run `trial` with `threads` threads of torch; what it raises becomes its record's error.

    The number of threads is the same wherever a trial runs, because sums over threads round in
    another order when it is another one.
    """
    trial = dataclasses.replace(
        trial, points=[], reasons=[], scheduled=[], line=line, began=time.monotonic()
    )
    metrics: dict[str, float] = {}
    error = None
    with _threads(threads):
        try:
            metrics = {name: float(value) for name, value in fit(trial).items()}
        except Exception as raised:  # noqa: BLE001 - the others go on, and the record says why
            error = " ".join(f"{type(raised).__name__}: {raised}".split())
    wall_s = time.monotonic() - trial.began
    if error is None:
        error = _what_is_wrong(trial, metrics, wall_s)
    return TrialRecord(trial.arm.name, trial.replicate, metrics, tuple(trial.points), wall_s, error)


def lost(trial: Trial, why: str, wall_s: float = 0.0) -> TrialRecord:
    """The record of a trial that could not tell its own end."""
    return TrialRecord(trial.arm.name, trial.replicate, {}, wall_s=wall_s, error=why)


def _what_is_wrong(trial: Trial, metrics: dict[str, float], wall_s: float) -> str | None:
    if trial.timeout_s is not None and wall_s > trial.timeout_s:
        return time_is_over(trial.timeout_s)
    if trial.reasons:
        return trial.reasons[0]
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    return f"metrics are not finite: {', '.join(bad)}" if bad else None


@contextmanager
def _threads(wanted: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
