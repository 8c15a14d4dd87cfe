"""Activation checkpointing runs a function twice: the second run must draw the first one's masks.

torch restores its generator's state for that, which serves ambient masks. Named masks count calls
instead, so what a checkpoint recomputes is wrapped: it goes back to where the counts stood when
the checkpoint began.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch.utils.checkpoint as torch_checkpoint

#: Puts the counts back for one more run.
Replay = Callable[[], AbstractContextManager[None]]


def _rewinding(function: Callable[..., Any], replay: Replay) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        with replay():
            return function(*args, **kwargs)

    return run


def _rewinding_after_first(function: Callable[..., Any], replay: Replay) -> Callable[..., Any]:
    again = _rewinding(function, replay)
    runs = [function]

    @functools.wraps(function, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        return (runs.pop() if runs else again)(*args, **kwargs)

    return run


@contextlib.contextmanager
def wrapped_checkpoints(note: Callable[[], Replay | None]) -> Iterator[None]:
    """Inside the block both of torch's checkpoint kinds wrap the functions they are given.

    torch has no public hook for this; these two names are where both kinds pass, however
    ``checkpoint`` itself was imported, and the tests of both kinds fail if they move.

    Args:
        note: Called when a checkpoint begins; returns how to go back there, or None.
    """
    reentrant = torch_checkpoint.CheckpointFunction
    forward: Callable[..., Any] = reentrant.forward
    without_reentrant = torch_checkpoint._checkpoint_without_reentrant_generator  # noqa: SLF001

    def reentrant_forward(ctx: Any, function: Callable[..., Any], *args: Any) -> Any:
        replay = note()  # this kind runs what it is given in forward too
        return forward(ctx, _rewinding_after_first(function, replay) if replay else function, *args)

    def generator(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        replay = note()  # this kind runs what it is given in recomputation only
        return without_reentrant(
            _rewinding(function, replay) if replay else function, *args, **kwargs
        )

    reentrant.forward = staticmethod(reentrant_forward)  # type: ignore[method-assign]
    torch_checkpoint._checkpoint_without_reentrant_generator = generator  # type: ignore[assignment]  # noqa: SLF001
    try:
        yield
    finally:
        reentrant.forward = staticmethod(forward)  # type: ignore[method-assign]
        torch_checkpoint._checkpoint_without_reentrant_generator = without_reentrant  # noqa: SLF001
