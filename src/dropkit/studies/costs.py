"""What a training costs: the time of a step, and peak memory."""

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

#: Names of metrics that say what a trial cost. They differ from run to run, so they never count
#: where two trials are compared to the bit.
COSTS = ("step_s", "peak_mib")

_MIB = 2**20


class Costs:
    """Measures a training from here on.

    Args:
        device: Where it trains. On CUDA each step waits until its kernels are done, and memory is
            what torch allocates there; elsewhere it is the resident memory of the process, all of
            it, from here on where the system can count anew (Linux), otherwise since it began.

    >>> costs = Costs()
    >>> for _ in range(3):
    ...     with costs.step():
    ...         _ = torch.ones(10).sum()
    >>> sorted(costs.metrics())
    ['peak_mib', 'step_s']
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._steps: list[float] = []
        self._began: float | None = None
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _forget_peak()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One training step: forward, backward and optimizer, without what is measured between."""
        self.begin_step()
        yield
        self.end_step()

    def begin_step(self) -> None:
        """A step begins; for loops that have no room for a block."""
        self._began = self._now()

    def end_step(self) -> None:
        """It ended; nothing where none began."""
        if self._began is not None:
            self._steps.append(self._now() - self._began)
            self._began = None

    def metrics(self) -> dict[str, float]:
        """What it cost so far.

        Returns:
            ``step_s``: median seconds of a step, where there was any; ``peak_mib``: the most
            memory at once, in MiB, where the system tells it.
        """
        steps = {"step_s": statistics.median(self._steps)} if self._steps else {}
        peak = self._peak()
        return steps if peak is None else {**steps, "peak_mib": peak / _MIB}

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"

    def _now(self) -> float:
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _peak(self) -> int | None:
        return torch.cuda.max_memory_allocated(self._device) if self._is_cuda else _peak()


def without_costs(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a trial found, without what it cost."""
    return {name: value for name, value in metrics.items() if name not in COSTS}


def _peak() -> int | None:
    """The most bytes that were resident in this process at once."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_peak() -> None:
    """Count from now on, where the system can."""
    with contextlib.suppress(OSError):  # proc(5): 5 sets the peak to what is resident now
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
