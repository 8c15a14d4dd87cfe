"""Masks do not depend on who draws them: forked children and many Python threads."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from dropkit.core import kernels
from dropkit.core.binding import LOADED
from dropkit.core.place import Place

Draw = Callable[..., Tensor]
Run = Callable[..., subprocess.CompletedProcess[str]]

#: Work enough that the fastest kernel shares it between two threads.
BIG = (1 << 19) + 5

# The parent's worker threads do not live on in a child: it must start its own, not wait for them.
FORK = """
import os, signal
import torch, dropkit
from dropkit.core import kernels

torch.set_num_threads(2)
address = dropkit.Address.from_seed(1)
x = torch.ones(500_000)
before = dropkit.functional.dropout(x, 0.5, address=address)
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        drawn = torch.empty_like(x)
        for _ in range(5):
            drawn = kernels.dropout(x, address.key, address.stream, 32768)
        same = drawn.numpy().tobytes() == before.numpy().tobytes()
        os._exit(0 if same else 3)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
after = dropkit.functional.dropout(x, 0.5, address=address)
print(torch.equal(before, after))
"""


@pytest.mark.skipif(LOADED.core is None, reason=f"there is no C core: {LOADED.why_not}")
def test_survives_fork(run_python: Run) -> None:
    """After two threads were used, forked children draw the same mask, and so does the parent."""
    done = run_python(FORK)
    assert (0, "0\n0\n0\nTrue\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.usefixtures("two_threads")
def test_many_python_threads(twin_draw: Draw) -> None:
    """Calls from several Python threads at once each get their own mask."""
    x = torch.ones(BIG)
    expected = [twin_draw(x, Place.whole(BIG), 32768, key, 0) for key in range(4)]

    def drawn(key: int) -> bool:
        torch.set_num_threads(2)
        outs = [kernels.dropout(x, key, 0, 32768) for _ in range(10)]
        return all(torch.equal(expected[key], out) for out in outs)

    with ThreadPoolExecutor(4) as pool:
        assert [True] * 4 == list(pool.map(drawn, range(4)))


def test_forcing_from_another_thread(core_draw: Draw, twin_draw: Draw, isa: str) -> None:
    """An instruction set forced in one thread serves the work of all, with the same bits."""
    x = torch.ones(BIG)
    with ThreadPoolExecutor(1) as pool:
        y = pool.submit(core_draw, isa, 2, x, Place.whole(BIG), 6554, 1, 1).result()
    assert torch.equal(twin_draw(x, Place.whole(BIG), 6554, 1, 1), y)
