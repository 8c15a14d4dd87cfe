"""What all benchmarks share: interleaved timing, the facts of the machine, JSON lines."""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

#: A repeat lasts at least this long, so that the clock's grain does not show.
REPEAT_S = 0.02
REPEATS = 9


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has; the first line of `doc` is its question."""
    made = argparse.ArgumentParser(
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    made.add_argument("--quick", action="store_true", help="fewer sizes and repeats: a smoke test")
    made.add_argument(
        "--threads", type=int, default=None, help="torch's threads; default: as it is"
    )
    return made


#: Tells the seconds that have gone by: ``time.perf_counter``, or ``time.process_time``, which counts
#: the work of all threads, their waiting for each other too: for one thread on a busy machine.
Clock = Callable[[], float]


def calls_a_repeat(call: Callable[[], object], repeat_s: float, clock: Clock) -> int:
    """How many calls of `call` last `repeat_s`, from a warm one."""
    call()
    calls = 1
    while True:
        begin = clock()
        for _ in range(calls):
            call()
        took = clock() - begin
        if took >= repeat_s / 4:
            return max(1, round(calls * repeat_s / took))
        calls *= 4


#: What a case needs around it: entered before its calls are timed, and left behind them.
Around = Callable[[], AbstractContextManager[object]]


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    *,
    repeats: int = REPEATS,
    repeat_s: float = REPEAT_S,
    around: Mapping[str, Around] | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds a call, `repeats` of them for each case.

    The cases take turns, and each turn begins with another case, so that a machine that slows
    down or a neighbour that wakes up does so for all of them. The first turn does not count.
    """
    names = list(cases)
    inside = {name: (around or {}).get(name, contextlib.nullcontext) for name in names}
    calls = {}
    # Twice: what is done once a process, in one of the first dozens of calls, is in the first count.
    for name in names * (2 if repeat_s else 1):
        with inside[name]():
            calls[name] = calls_a_repeat(cases[name], repeat_s, clock)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(-1, repeats):
        turn = repeat % len(names)
        for name in [*names[turn:], *names[:turn]]:
            call, n = cases[name], calls[name]
            with inside[name]():
                begin = clock()
                for _ in range(n):
                    call()
                if repeat >= 0:
                    seconds[name].append((clock() - begin) / n)
    return seconds


def over(seconds: Mapping[str, list[float]], base: str) -> dict[str, float]:
    """How many times as long each case takes as `base`: the median of the turns' ratios.

    Turn by turn, since what slows the machine down slows a whole turn down.
    """
    return {
        name: statistics.median(a / b for a, b in zip(taken, seconds[base], strict=True))
        for name, taken in seconds.items()
    }


def spread(seconds: list[float], n: int) -> dict[str, float]:
    """Minimum and median in nanoseconds an element, and in microseconds a call."""
    low, mid = min(seconds), statistics.median(seconds)
    return {
        "min_ns_per_element": round(low * 1e9 / n, 4),
        "median_ns_per_element": round(mid * 1e9 / n, 4),
        "min_us": round(low * 1e6, 3),
        "median_us": round(mid * 1e6, 3),
        "repeats": len(seconds),
    }


def saved_bytes(call: Callable[[], torch.Tensor]) -> int:
    """Bytes of the tensors that autograd saves for backward while `call` runs."""
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        call()
    return sum(kept.values())


def peak_mib(call: Callable[[], object]) -> float:
    """Most memory that the process holds during `call`, above what it held before; Linux only."""
    before = _status_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew here
    call()
    return _status_mib("VmHWM") - before


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _torch_random() -> str:
    """Which of torch's two ways to draw Bernoulli numbers on a CPU this machine takes.

    ``bernoulli_`` calls MKL where torch has it and the processor is Intel's, and is one serial
    loop elsewhere.
    """
    try:
        is_intel = "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        is_intel = False
    return "mkl" if is_intel and torch.backends.mkl.is_available() else "serial"


def _commit() -> str:
    """Short hash of the checkout this file lies in; "+" behind it where files are changed."""
    here = Path(__file__).parent
    try:
        known = _git(here, "rev-parse", "--short", "HEAD")
        changed = _git(here, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{known}+" if changed else known


def _git(here: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=here, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def facts() -> dict[str, Any]:
    """What a reader needs to judge a number: machine, versions, commit."""
    return {
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {
            "dropkit": version("dropkit"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "torch_random": _torch_random(),
        "commit": _commit(),
    }


def emit(line: Mapping[str, Any]) -> None:
    """One JSON line to stdout."""
    print(json.dumps(line), flush=True)


def say(text: str) -> None:
    """One line for people, to stderr."""
    print(text, file=sys.stderr, flush=True)
