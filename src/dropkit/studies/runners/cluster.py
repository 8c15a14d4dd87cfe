"""Trials as tasks of a Ray cluster."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dropkit.errors import MissingExtraError
from dropkit.studies.result import TrialRecord
from dropkit.studies.runners.base import GRACE_S, Log, Run
from dropkit.studies.runners.one import lost, run_trial
from dropkit.studies.trial import Fit, Point, Trial, innermost, time_is_over

_POLL_S = 0.1
_ASK_S = 1.0  # a trial may ask for should_stop at every step; the answer travels


@dataclass(frozen=True)
class Cluster:
    """Runs trials on Ray; each is a task that is tried again when its machine is lost.

    Attributes:
        address: Of the cluster; None starts one on this machine, or joins one that is joined.
        workers: Most trials at once; 0 for as many as the cluster has room for.
        threads: Of torch for each trial, and the cores that it takes.
        retries: How often a trial is begun again when its process or machine dies.
    """

    address: str | None = None
    workers: int = 0
    threads: int = 1
    retries: int = 2

    @contextlib.contextmanager
    def opened(self, fit: Fit) -> Iterator[Run]:
        """See `dropkit.studies.runners.base.Runner`."""
        ray = import_ray()
        with self._joined(ray), _pickled_by_value(ray, fit):
            yield lambda trials, log: _Run(ray, self, fit, trials, log).go()

    @contextlib.contextmanager
    def _joined(self, ray: ModuleType) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        options: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False}
        if self.address is not None:
            options = {"address": self.address, "log_to_driver": False}
        elif self.workers:
            options["num_cpus"] = self.workers * self.threads
        ray.init(**options)
        try:
            yield
        finally:
            ray.shutdown()


def import_ray() -> ModuleType:
    """The package, or one line that names the extra."""
    try:
        import ray  # noqa: PLC0415 - belongs to an extra
    except ImportError as error:
        message = "a cluster needs ray: pip install 'dropkit[ray]'."
        raise MissingExtraError(message) from error
    return ray


@contextlib.contextmanager
def _pickled_by_value(ray: ModuleType, fit: Fit) -> Iterator[None]:
    """The fit travels with its module's code: workers have no copy of a user's file."""
    name = innermost(fit).__module__
    module = sys.modules.get(name)
    if module is None or name == "__main__" or name.partition(".")[0] == "dropkit":
        yield
        return
    ray.cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        ray.cloudpickle.unregister_pickle_by_value(module)


class Mailbox:
    """Lives in an actor: what trials report on their way, and whether they are to stop."""

    def __init__(self) -> None:
        self._letters: list[tuple[int, Point | None]] = []
        self._is_stopped = False

    def put(self, number: int, point: Point | None) -> None:
        """Trial `number` reported `point`; None where it begins."""
        self._letters.append((number, point))

    def take(self) -> list[tuple[int, Point | None]]:
        """All that came since the last time."""
        letters, self._letters = self._letters, []
        return letters

    def stop(self) -> None:
        """Tell every trial to stop."""
        self._is_stopped = True

    def is_stopped(self) -> bool:
        """Whether they were told."""
        return self._is_stopped


class _Wire:
    """The line of a trial on the cluster."""

    def __init__(self, mailbox: Any, number: int) -> None:
        self._mailbox, self._number = mailbox, number
        self._asked = 0.0
        self._is_stopped = False

    def report(self, point: Point) -> None:
        self._mailbox.put.remote(self._number, point)

    def is_stopped(self) -> bool:
        now = time.monotonic()
        if not self._is_stopped and now - self._asked >= _ASK_S:
            self._asked = now
            self._is_stopped = import_ray().get(self._mailbox.is_stopped.remote())
        return self._is_stopped


def _serve(fit: Fit, trial: Trial, mailbox: Any, number: int, threads: int) -> TrialRecord:
    mailbox.put.remote(number, None)
    return run_trial(fit, trial, _Wire(mailbox, number), threads=threads)


class _Run:
    """One study's trials on the cluster."""

    def __init__(
        self, ray: ModuleType, cluster: Cluster, fit: Fit, trials: Sequence[Trial], log: Log
    ) -> None:
        self._ray, self._trials, self._log = ray, trials, log
        self._mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
        task = ray.remote(num_cpus=cluster.threads, max_retries=cluster.retries)(_serve)
        fit_there = ray.put(fit)
        self._begin: Callable[[int], Any] = lambda number: task.remote(
            fit_there, trials[number], self._mailbox, number, cluster.threads
        )
        room = int(ray.cluster_resources().get("CPU", 1)) // cluster.threads
        self._room = max(1, min(room, cluster.workers or room))
        self._running: dict[Any, int] = {}
        self._deadlines: dict[int, float] = {}

    def go(self) -> None:
        waiting = list(range(len(self._trials)))[::-1]
        try:
            while not self._log.is_over and (waiting or self._running):
                while waiting and len(self._running) < self._room:
                    number = waiting.pop()
                    self._running[self._begin(number)] = number
                done, _ = self._ray.wait(list(self._running), timeout=_POLL_S)
                self._read_mail()
                for task in done:
                    self._log.ended(self._record(task, self._running.pop(task)))
                self._end_late_ones()
        finally:
            self._mailbox.stop.remote()
            if self._running:
                self._ray.wait(list(self._running), num_returns=len(self._running), timeout=GRACE_S)
            for task in self._running:
                self._ray.cancel(task, force=True)
            self._ray.kill(self._mailbox)

    def _read_mail(self) -> None:
        running = set(self._running.values())
        for number, point in self._ray.get(self._mailbox.take.remote()):
            trial = self._trials[number]
            if number not in running:
                continue
            if point is not None:
                self._log.reported(trial, point)
                continue
            self._log.began(trial)
            if trial.timeout_s is not None:
                self._deadlines[number] = time.monotonic() + trial.timeout_s + GRACE_S

    def _record(self, task: Any, number: int) -> TrialRecord:
        try:
            record: TrialRecord = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            why = f"the cluster lost it: {type(error).__name__}"
            return lost(self._trials[number], why)
        return record

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for task, number in list(self._running.items()):
            trial = self._trials[number]
            if now >= self._deadlines.get(number, now + 1.0) and trial.timeout_s is not None:
                self._ray.cancel(task, force=True)
                del self._running[task]
                late = time_is_over(trial.timeout_s)
                self._log.ended(lost(trial, late, trial.timeout_s + GRACE_S))
