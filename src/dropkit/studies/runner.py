"""Run trials, here or in worker processes, and bring back a record of each."""

import contextlib
import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

import torch

from dropkit.studies.plan import Fit, Trial
from dropkit.studies.result import TrialRecord

OnRecord = Callable[[TrialRecord], None]


def run_trial(fit: Fit, trial: Trial) -> TrialRecord:
    """Run one trial; what it raises becomes its record's error."""
    start = time.perf_counter()
    metrics: dict[str, float] = {}
    error = None
    try:
        metrics = {name: float(value) for name, value in fit(trial).items()}
    except Exception as raised:  # noqa: BLE001 - the other trials go on, and the record says why
        error = " ".join(f"{type(raised).__name__}: {raised}".split())
    else:
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            error = f"metrics are not finite: {', '.join(bad)}"
    wall_s = time.perf_counter() - start
    return TrialRecord(trial.arm.name, trial.replicate, metrics, tuple(trial.points), wall_s, error)


def run_trials(fit: Fit, trials: Sequence[Trial], on_record: OnRecord, *, workers: int = 0) -> None:
    """Run `trials` in order and hand each record to `on_record` as it comes.

    Args:
        fit: Must be picklable where there are workers.
        trials: In the order they are begun.
        on_record: Called in this process.
        workers: Processes, each with one thread so that they do not fight; 0 runs here.

    Raises:
        KeyboardInterrupt: The user stopped it; the workers have ended.
    """
    if workers <= 0:
        for trial in trials:
            on_record(run_trial(fit, trial))
        return
    waiting = list(reversed(trials))
    pool = [_Worker(fit) for _ in range(min(workers, len(trials)))]
    try:
        for worker in pool:
            worker.give(waiting.pop())
        while busy := [worker for worker in pool if worker.trial is not None]:
            wait([worker.connection for worker in busy])
            for worker in busy:
                record = worker.record()
                if record is None:
                    continue
                on_record(record)
                if waiting:
                    worker.give(waiting.pop())
    finally:
        for worker in pool:
            worker.end()


class _Worker:
    """A process that runs one trial after another; replaced when it dies."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self.trial: Trial | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self._fit), daemon=True
        )
        with _interrupts_ignored():  # a child keeps what is ignored: Ctrl-C belongs to the parent
            self.process.start()
        theirs.close()

    def give(self, trial: Trial) -> None:
        """Begin `trial`."""
        self.trial = trial
        with contextlib.suppress(BrokenPipeError):  # it died idle: record() says so
            self.connection.send(trial)

    def record(self) -> TrialRecord | None:
        """The record of the trial given last, or None while it runs."""
        if self.trial is None or not self.connection.poll():
            return None
        trial, self.trial = self.trial, None
        try:
            return cast(TrialRecord, self.connection.recv())
        except (EOFError, ConnectionError):
            self.process.join()
            error = f"its worker process ended with exit code {self.process.exitcode}"
            self.connection.close()
            self._start()
            return TrialRecord(trial.arm.name, trial.replicate, {}, error=error)

    def end(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self.process.terminate()
        self.process.join()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: "Connection[TrialRecord, Trial]", fit: Fit) -> None:
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError):  # the parent is gone or has no more
        while True:
            connection.send(run_trial(fit, connection.recv()))
