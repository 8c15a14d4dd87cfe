"""Where an address comes from: torch's default generator, or a name.

*Ambient*: each call draws one from torch's default CPU generator, so ``torch.manual_seed``,
``fork_rng`` and ``preserve_rng_state`` govern dropout as users know it.

*Named*: inside `masks_at`, seed, step, sample, site and the ordinal of the call at that site
are folded into one address.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from dropkit.core import recompute
from dropkit.core.address import Address, as_u64
from dropkit.core.place import Place
from dropkit.errors import AddressError

#: Which examples the first dimension holds: a first index, a range, or an id an example.
Rows = int | range | Sequence[int] | Tensor | None

# Wrappers put these in front of a module's own path; a site keeps its name with and without them.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class Draw(NamedTuple):
    """Everything that a call needs to know of its mask; key and stream in 64 bits each."""

    key: int
    stream: int
    place: Place | None = None


def site_name(path: str) -> str:
    """A module's dotted path without the parts that wrappers add."""
    parts = [part for part in path.split(".") if part not in _WRAPPERS]
    return ".".join(parts) if parts else path


class Scope:
    """The names of one `masks_at` block: its root address, and how often each site was called."""

    def __init__(self, root: Address, rows: Rows) -> None:
        self.root = root
        self._first_row = 0
        self._ids: Tensor | None = None
        if isinstance(rows, int):
            self._first_row = as_u64(rows, "rows")
        elif rows is not None:
            self._ids = _row_ids(rows)
        self._has_rows = rows is not None
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._names: dict[nn.Module, str] = {}
        self._sites: dict[str, Address] = {}

    def learn_names(self, outermost: nn.Module) -> None:
        """Name every module below the first one that is called by its path from there."""
        if outermost in self._names:
            return
        with self._lock:
            for path, module in outermost.named_modules():
                self._names.setdefault(module, site_name(path))

    def draw(self, x: Tensor, site: nn.Module | None) -> Draw:
        """The next address at `site`, and where the elements of `x` sit."""
        name = "" if site is None else self._names.get(site, "")
        with self._lock:
            ordinal = self._calls[name]
            self._calls[name] += 1
            if name not in self._sites:
                self._sites[name] = self.root.fold(name)
        address = self._sites[name].fold(ordinal)
        return Draw(address.key, address.stream, self._place(x))

    def snapshot(self) -> Counter[str]:
        """How often each site was called so far."""
        with self._lock:
            return self._calls.copy()

    @contextlib.contextmanager
    def rewound(self, calls: Counter[str]) -> Iterator[None]:
        """Inside the block this scope is current and counts on from `calls`."""
        with self._lock:
            now, self._calls = self._calls, calls.copy()
        token = _scope.set(self)
        try:
            yield
        finally:
            _scope.reset(token)
            with self._lock:
                self._calls = now

    def _place(self, x: Tensor) -> Place | None:
        if not self._has_rows or x.dim() == 0 or x.numel() == 0:
            return None
        if self._ids is None:
            rows = x.shape[0]
            return Place(rows, x.numel() // rows, first_row=self._first_row)
        rows = len(self._ids)
        if x.shape[0] % rows:
            raise AddressError(
                f"`rows` must name the examples that the first dimension holds; got {rows} of them "
                f"for a tensor of shape {tuple(x.shape)}. Give one an example of the batch."
            )
        return Place(rows, x.numel() // rows, row_ids=self._ids)


def _row_ids(rows: range | Sequence[int] | Tensor) -> Tensor:
    ids = torch.as_tensor(rows if isinstance(rows, Tensor) else list(rows))
    if ids.dim() != 1 or ids.numel() == 0 or ids.is_floating_point() or ids.is_complex():
        raise AddressError(
            "`rows` must be a first index, or one whole number an example; "
            f"got {tuple(ids.shape)} of {str(ids.dtype).removeprefix('torch.')}."
        )
    return ids.detach().to(device="cpu", dtype=torch.int64).contiguous()


_scope: ContextVar[Scope | None] = ContextVar("dropkit_scope", default=None)


class masks_at(contextlib.ContextDecorator):  # noqa: N801 - reads as a verb, like torch.no_grad
    """Inside this block masks have names: the same names give the same masks, bit for bit.

    A call's address is the seed folded with step, sample, the site's name (the module's dotted
    path from the first module called in the block; empty for a bare function call) and the
    ordinal of the call at that site. Each ``with`` begins to count anew. Blocks may be nested;
    the inner one rules. Threads have blocks of their own. What activation checkpointing
    recomputes draws its forward's masks, also after the block has ended and whatever
    ``preserve_rng_state`` says.

    Args:
        seed: A whole number in [0, 2**64).
        step: Of training, say.
        sample: Of several sub-networks at the same step, say.
        rows: Which examples the first dimension of a dropped tensor holds, so that an example's
            mask does not depend on its batch: a first index; or a range, a sequence or a ``(B,)``
            integer tensor with an id an example. With ids, a first dimension of ``B * m`` is
            read as ``(B, m)``; with a first index it is the batch itself.

    Raises:
        AddressError: A number is outside its range, or `rows` does not fit a tensor's batch.

    >>> with masks_at(seed=0, step=12):
    ...     first = dropkit.functional.dropout(torch.ones(8))
    >>> with masks_at(seed=0, step=12):
    ...     again = dropkit.functional.dropout(torch.ones(8))
    >>> torch.equal(first, again)
    True
    """

    def __init__(self, seed: int, step: int = 0, sample: int = 0, rows: Rows = None) -> None:
        root = Address.from_seed(seed)
        self._root = root.fold(as_u64(step, "step")).fold(as_u64(sample, "sample"))
        self._rows = rows
        Scope(self._root, rows)  # bad rows are refused here, not at the first layer
        self._exits: list[contextlib.ExitStack] = []

    def __enter__(self) -> Self:
        scope = Scope(self._root, self._rows)
        stack = contextlib.ExitStack()
        token = _scope.set(scope)
        stack.callback(_scope.reset, token)
        stack.enter_context(_naming)
        self._exits.append(stack)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.pop().close()


class _Naming:
    """What holds for all threads while any block is open.

    Modules are named as they are called, and checkpointed functions remember where their calls
    began.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._open += 1
            if self._open == 1:
                hook = nn.modules.module.register_module_forward_pre_hook(_name_modules)
                self._stack.callback(hook.remove)
                self._stack.enter_context(recompute.wrapped_checkpoints(_replaying))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                self._stack.close()


_naming = _Naming()


def _name_modules(module: nn.Module, _: Any) -> None:
    scope = _scope.get()
    if scope is not None:
        scope.learn_names(module)


def _replaying() -> recompute.Replay | None:
    scope = _scope.get()
    if scope is None:
        return None
    calls = scope.snapshot()
    return lambda: scope.rewound(calls)


def draw(x: Tensor, site: nn.Module | None = None) -> Draw:
    """The mask of one dropout call on `x`, from the open `masks_at` block or torch's generator."""
    scope = _scope.get()
    if scope is not None:
        return scope.draw(x, site)
    bits = torch.empty(2, dtype=torch.int64, device="cpu").random_(-(1 << 63), None)
    key, stream = bits.tolist()
    return Draw(key, stream)
