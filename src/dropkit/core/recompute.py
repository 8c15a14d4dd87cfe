"""Activation checkpointing runs a function twice: the second run must draw the first one's masks.

torch restores its generator's state for that, which serves ambient masks. Whatever else decides
on a mask registers here how to put itself back to where a checkpoint began; what the checkpoint
recomputes is then wrapped in that.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch.utils.checkpoint as torch_checkpoint

#: Puts things back for one more run.
Replay = Callable[[], AbstractContextManager[None]]
#: Called when a checkpoint begins; returns how to go back there, or None where nothing matters.
Note = Callable[[], Replay | None]

_lock = threading.Lock()
_notes: list[Note] = []
_without_reentrant = torch_checkpoint._checkpoint_without_reentrant_generator  # noqa: SLF001
_reentrant_forward: Callable[..., Any] = torch_checkpoint.CheckpointFunction.forward


@contextlib.contextmanager
def wrapped_checkpoints(note: Note) -> Iterator[None]:
    """Inside the block both of torch's checkpoint kinds go back to what `note` notes.

    torch has no public hook for this; the two names that are replaced here are where both kinds
    pass, however ``checkpoint`` itself was imported, and the tests of both kinds fail if they move.
    """
    with _lock:
        _notes.append(note)
        if len(_notes) == 1:
            _replace(_generator, _forward)
    try:
        yield
    finally:
        with _lock:
            _notes.remove(note)
            if not _notes:
                _replace(_without_reentrant, _reentrant_forward)


def _replace(generator: Callable[..., Any], forward: Callable[..., Any]) -> None:
    torch_checkpoint._checkpoint_without_reentrant_generator = generator  # noqa: SLF001
    torch_checkpoint.CheckpointFunction.forward = staticmethod(forward)  # type: ignore[method-assign]


def _generator(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # This kind runs what it is given in recomputation only.
    return _without_reentrant(_rewinding(function, _replays()), *args, **kwargs)


def _forward(ctx: Any, function: Callable[..., Any], *args: Any) -> Any:
    # This kind runs what it is given in forward too.
    again = _rewinding(function, _replays())
    runs = [function]

    @functools.wraps(function, updated=())
    def run(*inner: Any, **kwargs: Any) -> Any:
        return (runs.pop() if runs else again)(*inner, **kwargs)

    return _reentrant_forward(ctx, run, *args)


def _replays() -> list[Replay]:
    return [replay for note in list(_notes) if (replay := note()) is not None]


def _rewinding(function: Callable[..., Any], replays: list[Replay]) -> Callable[..., Any]:
    if not replays:
        return function

    @functools.wraps(function, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for replay in replays:
                stack.enter_context(replay())
            return function(*args, **kwargs)

    return run
