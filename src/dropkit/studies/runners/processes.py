"""Trials in worker processes of this machine."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from dropkit.errors import OptionError
from dropkit.studies.result import TrialRecord
from dropkit.studies.runners.base import GRACE_S, Log, Run
from dropkit.studies.runners.one import lost, run_trial
from dropkit.studies.trial import Fit, Point, Trial, time_is_over

#: Each library with threads of its own reads one of these when it is loaded.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_BEGAN, _STOP = "began", "stop"


@dataclass(frozen=True)
class Processes:
    """Runs trials in processes of their own, which end with this one, however it ends.

    Attributes:
        workers: How many at once, at least 1. The fit must be picklable.
        threads: Of each, so that ``workers * threads`` is the number of busy cores.
    """

    workers: int
    threads: int = 1

    @contextlib.contextmanager
    def opened(self, fit: Fit) -> Iterator[Run]:
        """See `dropkit.studies.runners.base.Runner`.

        Raises:
            OptionError: The fit is not picklable.
        """
        _check_picklable(fit)
        pool = _Pool(fit, self.workers, self.threads)
        try:
            yield pool.run
        finally:
            pool.end()


class _Pool:
    """Workers that start when there is something to do, and stay until the end."""

    def __init__(self, fit: Fit, most: int, threads: int) -> None:
        self._fit, self._most, self._threads = fit, most, threads
        self._workers: list[_Worker] = []

    def run(self, trials: Sequence[Trial], log: Log) -> None:
        """Run `trials`: see `dropkit.studies.runners.base.Run`."""
        waiting = list(reversed(trials))
        while len(self._workers) < min(self._most, len(trials)):
            self._workers.append(_Worker(self._fit, self._threads))
        while not log.is_over:
            for worker in self._workers:
                if worker.trial is None and waiting:
                    worker.give(waiting.pop())
            busy = [worker for worker in self._workers if worker.trial is not None]
            if not busy:
                return
            wait([worker.connection for worker in busy], _soonest(busy))
            for worker in busy:
                worker.tell(log)
        self.end()  # those that run are not to come back with what nobody wants

    def end(self) -> None:
        """Tell those that run to stop, and end all, at once where nobody runs."""
        running = [worker for worker in self._workers if worker.trial is not None]
        for worker in running:
            worker.stop()
        until = time.monotonic() + GRACE_S
        while running and (left := until - time.monotonic()) > 0:
            wait([worker.connection for worker in running], left)
            running = [worker for worker in running if not worker.is_done()]
        for worker in self._workers:
            worker.end()
        self._workers = []


def _check_picklable(fit: Fit) -> None:
    try:
        pickle.dumps(fit)
    except Exception as error:
        raise OptionError(
            f"`fit` must be picklable where there are workers; got {fit!r}. Define it at the top "
            "level of a module, or run it with 0 workers."
        ) from error


def _soonest(workers: Sequence["_Worker"]) -> float | None:
    """Seconds to the first deadline."""
    deadlines = [worker.deadline for worker in workers if worker.deadline is not None]
    return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None


class _Worker:
    """A process that runs one trial after another; replaced when it dies."""

    def __init__(self, fit: Fit, threads: int) -> None:
        self._fit, self._threads = fit, threads
        self.trial: Trial | None = None
        self.deadline: float | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self._fit, self._threads), daemon=True
        )
        # A child keeps what is ignored: Ctrl-C belongs to the parent.
        with _interrupts_ignored(), _thread_variables(self._threads):
            self.process.start()
        theirs.close()

    def give(self, trial: Trial) -> None:
        """Begin `trial`."""
        self.trial, self.deadline = trial, None
        with contextlib.suppress(BrokenPipeError):  # it died idle: tell() says so
            self.connection.send(trial)

    def tell(self, log: Log) -> None:
        """Hand on what the process has said, and end it where its trial's time is over."""
        while self.trial is not None and self.connection.poll():
            try:
                said = self.connection.recv()
            except (EOFError, ConnectionError):
                self.process.join()
                self._lose(log, f"its worker process ended with exit code {self.process.exitcode}")
                return
            if isinstance(said, TrialRecord):
                self.trial = self.deadline = None
                log.ended(said)
            elif isinstance(said, Point):
                log.reported(self.trial, said)
            else:
                log.began(self.trial)
                if self.trial.timeout_s is not None:
                    self.deadline = time.monotonic() + self.trial.timeout_s + GRACE_S
        if self.trial is not None and self.deadline is not None:
            self._check_time(self.trial, self.deadline, log)

    def _check_time(self, trial: Trial, deadline: float, log: Log) -> None:
        if time.monotonic() >= deadline and trial.timeout_s is not None:
            self.process.kill()
            self.process.join()
            self._lose(log, time_is_over(trial.timeout_s), trial.timeout_s + GRACE_S)

    def _lose(self, log: Log, why: str, wall_s: float = 0.0) -> None:
        trial, self.trial, self.deadline = self.trial, None, None
        self.connection.close()
        self._start()
        if trial is not None:
            log.ended(lost(trial, why, wall_s))

    def stop(self) -> None:
        """Ask the trial that runs to stop."""
        with contextlib.suppress(OSError):
            self.connection.send(_STOP)

    def is_done(self) -> bool:
        """Whether it has ended its trial since it was asked to."""
        try:
            while self.connection.poll():
                if isinstance(self.connection.recv(), TrialRecord):
                    return True
        except (EOFError, OSError):
            return True
        return False

    def end(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self.process.terminate()
        self.process.join(GRACE_S)
        if self.process.is_alive():
            self.process.kill()
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


@contextlib.contextmanager
def _thread_variables(threads: int) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: "Connection[Any, Any]", fit: Fit, threads: int) -> None:
    """What a worker process does, until its parent is gone or has no more."""
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            trial = connection.recv()
            if trial == _STOP:  # meant for the trial that has just ended
                continue
            connection.send(_BEGAN)
            connection.send(run_trial(fit, trial, _Pipe(connection), threads=threads))


def _die_with_the_parent() -> None:
    """No trial goes on for nobody, however the parent ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Pipe:
    """The line of a trial in a worker process."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._is_stopped = False

    def report(self, point: Point) -> None:
        self._connection.send(point)

    def is_stopped(self) -> bool:
        if not self._is_stopped and self._connection.poll():
            self._is_stopped = self._connection.recv() == _STOP
        return self._is_stopped
