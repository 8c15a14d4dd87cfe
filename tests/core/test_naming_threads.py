"""Threads have `masks_at` blocks of their own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from dropkit import masks_at
from dropkit.functional import dropout


def _drawn() -> list[float]:
    return dropout(torch.ones(100), 0.5).tolist()


def _expected(seed: int) -> list[list[float]]:
    with masks_at(seed=seed):
        return [_drawn() for _ in range(5)]


def test_a_block_a_thread() -> None:
    """Blocks that are open at once in two threads do not mix."""
    both_open, expected = threading.Barrier(2, timeout=20), [_expected(0), _expected(1)]

    def drawn(seed: int) -> list[list[float]]:
        with masks_at(seed=seed):
            both_open.wait()
            return [_drawn() for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        assert expected == list(pool.map(drawn, range(2)))


def test_a_thread_without_a_block() -> None:
    """A thread that opened no block is not governed by another thread's."""
    with masks_at(seed=1), ThreadPoolExecutor(1) as pool:
        named = _drawn()
        state = torch.get_rng_state()
        ambient = pool.submit(_drawn).result()
        assert not torch.equal(state, torch.get_rng_state())
    assert named != ambient


def _in_turn(function: Callable[[Callable[[], None]], None]) -> list[BaseException | None]:
    """Two threads call `function`: both are inside before the first to enter leaves, first."""
    both_inside, first_left = threading.Barrier(2, timeout=20), threading.Event()
    errors: list[BaseException | None] = [None, None]

    def run(turn: int) -> None:
        def meet() -> None:
            both_inside.wait()
            if turn == 1:
                first_left.wait(20)

        try:
            function(meet)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors[turn] = error
        finally:
            if turn == 0:
                first_left.set()

    threads = [threading.Thread(target=run, args=(turn,)) for turn in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_decorated_function_in_two_threads() -> None:
    """A decorated function may run in two threads at once."""
    outs: list[list[float]] = []

    @masks_at(seed=1)
    def drawn(meet: Callable[[], None]) -> None:
        meet()
        outs.append(_drawn())

    # Whichever thread enters last, one of the two orders leaves first what was entered first.
    for _ in range(4):
        assert [None, None] == _in_turn(drawn)
    assert [_expected(1)[0]] * 8 == outs
