"""The names of one block: its root address, its sites, and how often each was called."""

import contextlib
import copy
import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from dropkit.core.address import Address, as_u64
from dropkit.core.place import Place
from dropkit.errors import AddressError

#: Which examples the first dimension holds: a first index, a range, or an id an example.
Rows = int | range | Sequence[int] | Tensor | None

# Wrappers put these in front of a module's own path; a site keeps its name with and without them.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


def site_name(path: str) -> str:
    """A module's dotted path without the parts that wrappers add."""
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


class Scope:
    """The names of one `masks_at` block: its root address, and how often each site was called."""

    def __init__(self, root: Address, rows: Rows) -> None:
        self.root = root
        self._first_row = 0
        self._ids: Tensor | None = None
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
            self._first_row = as_u64(rows, "rows")
        elif rows is not None:
            self._ids = _row_ids(rows)
        self.has_rows = rows is not None
        self.begin()

    def anew(self) -> Self:
        """The same names, with nothing counted yet."""
        scope = copy.copy(self)
        scope.begin()
        return scope

    def begin(self) -> None:
        """Forget all calls."""
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._names: dict[nn.Module, str] = {}
        self._sites: dict[str, Address] = {}
        self.is_named_by_traces = False

    def learn_names(self, outermost: nn.Module, *, is_traced: bool = False) -> None:
        """Name every module below the first one that is called by its path from there.

        Args:
            outermost: The first module.
            is_traced: Whether a compiler traces its call, which then does not happen again.
        """
        if outermost in self._names:
            return
        with self._lock:
            for path, module in outermost.named_modules():
                self._names.setdefault(module, site_name(path))
        self.is_named_by_traces = self.is_named_by_traces or is_traced

    def knows(self, module: nn.Module) -> bool:
        """Whether `module` has a name here."""
        return module in self._names

    def name_of(self, module: nn.Module) -> str | None:
        """The name of `module`, if it has one here."""
        return self._names.get(module)

    def next_address(self, site: nn.Module | None, name: str | None = None) -> Address:
        """The address of the next call at `site`; `name` is for one that no call has named."""
        name, ordinal = self._next_call(site, name)
        if name not in self._sites:
            self._sites[name] = self.root.fold(name)
        return self._sites[name].fold(ordinal)

    def _next_call(self, site: nn.Module | None, name: str | None) -> tuple[str, int]:
        """The name of a site, and which of its calls is the next."""
        name = (name or "") if site is None else self._names.get(site, name or "")
        with self._lock:
            ordinal = self._calls[name]
            self._calls[name] += 1
        return name, ordinal

    def snapshot(self) -> Counter[str]:
        """How often each site was called so far."""
        with self._lock:
            return self._calls.copy()

    @contextlib.contextmanager
    def rewound(self, calls: Counter[str]) -> Iterator[None]:
        """Inside the block this scope counts on from `calls`."""
        with self._lock:
            now, self._calls = self._calls, calls.copy()
        try:
            yield
        finally:
            with self._lock:
                self._calls = now

    def place(self, shape: Sequence[int]) -> Place | None:
        """Where the elements of a tensor of this shape sit; None for the plain row-major index."""
        numel = math.prod(shape)
        if not self.has_rows or not shape or numel == 0:
            return None
        if self._ids is None:
            return Place(shape[0], numel // shape[0], first_row=self._first_row)
        rows = len(self._ids)
        if shape[0] % rows:
            raise AddressError(
                f"`rows` must name the examples that the first dimension holds; got {rows} of them "
                f"for a tensor of shape {tuple(shape)}. Give one an example of the batch."
            )
        return Place(rows, numel // rows, row_ids=self._ids)


def _row_ids(rows: object) -> Tensor:
    """One whole number an example, as a ``(B,)`` int64 tensor of our own."""
    try:
        ids = torch.as_tensor(rows if isinstance(rows, Tensor) else np.asarray(rows))
    except (TypeError, ValueError, RuntimeError):
        ids = None  # nothing that numbers could be read from
    is_whole = ids is not None and not (
        ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool
    )
    if ids is None or not is_whole or ids.dim() != 1 or ids.numel() == 0:
        got = f"a {type(rows).__name__}"
        if ids is not None:
            got = f"{tuple(ids.shape)} of {str(ids.dtype).removeprefix('torch.')}"
        raise AddressError(
            f"`rows` must be a first index, or one whole number an example; got {got}."
        )
    return ids.detach().to("cpu", torch.int64, copy=True)


#: The open `masks_at` block of this thread, or None.
scope_variable: ContextVar[Scope | None] = ContextVar("dropkit_scope", default=None)
current_scope = scope_variable.get
