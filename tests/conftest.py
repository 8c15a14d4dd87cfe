"""What all tests share: one seed, one false-alarm rate, and the ways to draw with a kernel.

Fixtures instead of imports: tests are imported by path (``--import-mode=importlib``).
"""

import contextlib
import copy
import gc
import io
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any

import hypothesis
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from dropkit.core import kernels, reference
from dropkit.core.binding import LOADED
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold

# Nothing is downloaded: a name that is no folder is told so at once, not after tries to reach a hub.
os.environ["HF_HUB_OFFLINE"] = "1"

#: The chance that a statistical check fails under a new seed though all is well.
FALSE_ALARM = 1e-9
SEED = int(os.environ.get("DK_TEST_SEED", "20111112"))
REQUIRE_ALL = os.environ.get("DK_REQUIRE_ALL") == "1"

hypothesis.settings.register_profile("dropkit", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("dropkit")

#: What torch's own function runs.
DROPOUT = F.dropout.__code__

#: (x, place, threshold, key, stream) -> y
Draw = Callable[..., Tensor]


def pytest_report_header() -> str:
    """What is needed to run the very same tests again."""
    core = "none, the slow twin serves" if LOADED.core is None else LOADED.core.isa
    return f"dropkit: core {core}; torch {torch.__version__}; replay: DK_TEST_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Property tests draw from the suite's seed too."""
    for item in items:
        if isinstance(item, pytest.Function) and hypothesis.is_hypothesis_test(item.obj):
            hypothesis.seed(SEED)(item.obj)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """With DK_REQUIRE_ALL=1 a skip is a fault."""
    outcome = yield
    report = outcome.get_result()
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"DK_REQUIRE_ALL=1, but {item.nodeid} was skipped: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, None]:
    """Likewise for a whole file that skips itself."""
    outcome = yield
    report = outcome.get_result()
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"DK_REQUIRE_ALL=1, but {collector.nodeid} was skipped: {report.longrepr}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `isa` runs under each instruction set of this build."""
    if "isa" not in metafunc.fixturenames:
        return
    known = {} if LOADED.core is None else LOADED.core.isas()
    params = [
        pytest.param(
            name, marks=[] if usable else pytest.mark.skip(f"this machine cannot run {name}")
        )
        for name, usable in known.items()
    ]
    reason = f"there is no C core: {LOADED.why_not}"
    metafunc.parametrize("isa", params or [pytest.param("none", marks=pytest.mark.skip(reason))])


@pytest.fixture(scope="session", autouse=True)
def _warned() -> None:
    """Where the slow twin serves on purpose, its one warning is not every test's error."""
    if LOADED.core is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernels.dropout(torch.ones(1), 0, 0, 1)


@pytest.fixture(autouse=True)
def _models_let_go() -> Iterator[None]:
    """A model with rates set in its code, kept alive by a cycle only, steers no later test."""
    yield
    if F.dropout.__code__ is not DROPOUT:
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Threads of torch wait for each other by spinning: beside other work, one is faster."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test starts at the suite's seed, whatever the order."""
    torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def false_alarm() -> float:
    """The suite's one false-alarm rate."""
    return FALSE_ALARM


@pytest.fixture(scope="session")
def seed() -> int:
    """The suite's seed."""
    return SEED


@pytest.fixture(scope="session")
def core_draw() -> Draw:
    """Draw with the C core: forces an instruction set and a thread count, and restores both."""
    core = LOADED.core

    def draw(
        isa: str,
        threads: int,
        x: Tensor,
        place: Place,
        threshold: int,
        key: int,
        stream: int,
        y: Tensor | None = None,
    ) -> Tensor:
        assert core is not None
        before = core.isa, torch.get_num_threads()
        out = torch.full_like(x, 77.0) if y is None else y
        core.force(isa)
        torch.set_num_threads(threads)
        try:
            scale = scale_from_threshold(threshold)
            core.dropout(x, out, key, stream, threshold, scale, place)
        finally:
            core.force(before[0])
            torch.set_num_threads(before[1])
        return out

    return draw


@pytest.fixture(scope="session")
def twin_draw() -> Draw:
    """Draw with the slow twin."""

    def draw(x: Tensor, place: Place, threshold: int, key: int, stream: int) -> Tensor:
        return reference.dropout(x, key, stream, threshold, scale_from_threshold(threshold), place)

    return draw


@pytest.fixture(scope="session")
def bits() -> Callable[[Tensor], list[int]]:
    """The elements of a tensor as bit patterns; all nans look the same, +0 and -0 do not."""
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

    def pattern(x: Tensor) -> list[int]:
        canonical = torch.where(x.isnan(), torch.full_like(x, torch.nan), x).contiguous()
        return canonical.view(kinds[x.element_size()]).reshape(-1).tolist()

    return pattern


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a fresh interpreter where warnings are errors."""

    def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if k != "DROPKIT_ISA"}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            env={**inherited, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture(scope="session")
def trained() -> Callable[..., list[Tensor]]:
    """Output, gradient, and where the generator stands after one pass from a fixed state."""

    def train(
        function: Callable[[Tensor], Tensor], x: Tensor, name: AbstractContextManager[object] | None
    ) -> list[Tensor]:
        torch.manual_seed(5)
        leaf = x.detach().requires_grad_()
        with name or contextlib.nullcontext():
            y = function(leaf)
        y.square().sum().backward()
        return [y.detach(), leaf.grad, torch.rand(1)]

    return train


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch use two threads during this test."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _copied(layer: nn.Module) -> nn.Module:
    return copy.deepcopy(layer)


def _pickled(layer: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(layer))


def _saved(layer: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.fixture(params=[_copied, _pickled, _saved])
def again(request: pytest.FixtureRequest) -> Callable[[nn.Module], nn.Module]:
    """The layer a second time: a copy, from a pickle, from a file."""
    return request.param
