"""What is computed again in a backward: from which numbers its masks are drawn."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.checkpoint as theirs
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dropkit.sites.draws import draw_of


class DrawnFrom(TorchDispatchMode):
    """Notes where the generator stands at each draw of a forward and of its backward.

    A mask of dropkit's is told by its address.

    Attributes:
        n_in_backward: Draws in the backward.
        n_other: Those of them that began where no draw of the forward did.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_in_backward = self.n_other = 0
        self._of_forward: set[bytes] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if draw_of(func, args, kwargs) is not None:
            self._note(_source(func, args))
        return func(*args, **kwargs)

    def _note(self, source: bytes) -> None:
        if torch._C._current_graph_task_id() == -1:  # noqa: SLF001 - no public way to ask
            self._of_forward.add(source)
            return
        self.n_in_backward += 1
        self.n_other += source not in self._of_forward


def _source(func: Any, args: tuple[Any, ...]) -> bytes:
    if func.name().startswith("dropkit::"):
        parts = [x for x in args if isinstance(x, Tensor) and not x.is_floating_point()]
        return b"".join(x.cpu().numpy().tobytes() for x in parts)
    devices = {x.device for x in args if isinstance(x, Tensor) and x.device.type == "cuda"}
    state = torch.cuda.get_rng_state(devices.pop()) if devices else torch.get_rng_state()
    return bytes(state.numpy().tobytes())


@contextlib.contextmanager
def preserving() -> Iterator[Callable[[], bool]]:
    """Inside, ``torch.utils.checkpoint`` preserves the generators, whatever it is asked.

    Yields:
        Whether it was called since.
    """
    plain, generator = theirs.CheckpointFunction, theirs._checkpoint_without_reentrant_generator  # noqa: SLF001 - the two ways that its one function goes
    was_called = False

    class Preserving:
        @staticmethod
        def apply(function: Any, preserve: bool, *args: Any) -> Any:
            nonlocal was_called
            del preserve
            was_called = True
            return plain.apply(function, True, *args)

    def preserved(fn: Any, preserve_rng_state: bool = True, *args: Any, **kwargs: Any) -> Any:
        nonlocal was_called
        del preserve_rng_state
        was_called = True
        return generator(fn, True, *args, **kwargs)

    theirs.CheckpointFunction = Preserving  # type: ignore[misc,assignment]
    theirs._checkpoint_without_reentrant_generator = preserved  # noqa: SLF001 - as above
    try:
        yield lambda: was_called
    finally:
        theirs.CheckpointFunction = plain  # type: ignore[misc]
        theirs._checkpoint_without_reentrant_generator = generator  # noqa: SLF001 - as above
