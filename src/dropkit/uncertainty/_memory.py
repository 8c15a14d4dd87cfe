"""How much memory a forward holds at its peak."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Inside the block, counts the bytes of what torch's operators make, as long as it is held.

    What an operator needs within itself is not seen. Equal forwards give equal numbers, whatever
    else the process does.

    Args:
        is_counted: Whether what is made now counts.

    Attributes:
        bytes: The peak.
    """

    def __init__(self, is_counted: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._is_counted = is_counted
        self._now = 0
        self._held: set[int] = set()

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and count what it gives."""
        del types
        out = func(*args, **(kwargs or {}))
        if self._is_counted():
            given = {id(storage) for storage in _storages((args, kwargs))}
            for storage in _storages(out):
                if id(storage) not in given:  # no view of a weight, say
                    self._hold(storage)
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._held:
            return
        self._held.add(id(storage))
        self._now += storage.nbytes()
        self.bytes = max(self.bytes, self._now)
        weakref.finalize(storage, self._free, id(storage), storage.nbytes())

    def _free(self, key: int, n_bytes: int) -> None:
        self._held.discard(key)
        self._now -= n_bytes


def _storages(value: Any) -> Iterator[torch.UntypedStorage]:
    for x in tree_leaves(value):
        if isinstance(x, Tensor) and x.layout == torch.strided:
            yield x.untyped_storage()
