"""Where an address comes from: torch's default generator, or a name.

*Ambient*: each call draws one from torch's default CPU generator, so ``torch.manual_seed``,
``fork_rng`` and ``preserve_rng_state`` govern dropout as users know it.

*Named*: inside `masks_at`, seed, step, sample, site and the ordinal of the call at that site
are folded into one address.
"""

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from dropkit.core import recompute
from dropkit.core.address import Address, as_u64
from dropkit.core.counted import Counted
from dropkit.core.scope import Rows, Scope, current_scope
from dropkit.core.scope import scope_variable as _scope
from dropkit.core.traced_names import learn_if_first

P = ParamSpec("P")
R = TypeVar("R")


class masks_at:  # noqa: N801 - reads as a verb, like torch.no_grad
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
        root = root.fold(as_u64(step, "step")).fold(as_u64(sample, "sample"))
        self._scope = Scope(root, rows)  # bad rows are refused here, not at the first layer
        self._exits = threading.local()  # one object may be open in several threads

    def __enter__(self) -> Self:
        stack = contextlib.ExitStack()
        stack.enter_context(named_by(self._scope.anew()))
        self._stacks.append(stack)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stacks.pop().close()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate `function`: each of its calls runs in a block of its own."""

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return inside

    @property
    def _stacks(self) -> list[contextlib.ExitStack]:
        if not hasattr(self._exits, "stacks"):
            self._exits.stacks = []
        stacks: list[contextlib.ExitStack] = self._exits.stacks
        return stacks


@contextlib.contextmanager
def named_by(scope: Scope) -> Iterator[None]:
    """Inside the block masks get their addresses from `scope`; `masks_at` is such a block.

    Args:
        scope: Of this block alone; its class may name calls in a way of its own.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_scope.reset, _scope.set(scope))
        stack.enter_context(_naming)
        if scope.has_rows:
            stack.enter_context(_rows)
        yield


_HOOK = -1  # torch counts its own from 0


class _Naming(Counted):
    """What holds for all threads while any block is open.

    Modules are named as they are called, and checkpointed functions remember where their calls
    began.
    """

    def begin(self, stack: contextlib.ExitStack) -> None:
        # Not torch's own registration: it makes a new key each time, and each new key makes
        # torch.compile compile everything anew.
        hooks = nn.modules.module._global_forward_pre_hooks  # noqa: SLF001
        hooks[_HOOK] = _name_modules
        stack.callback(hooks.pop, _HOOK)
        stack.enter_context(recompute.wrapped_checkpoints(_replay_from_here))


_naming = _Naming()
_rows = Counted()


def rows_are_open() -> bool:
    """Whether any open block says which examples a batch holds."""
    return _rows.count > 0


def _name_modules(module: nn.Module, _: Any) -> None:
    if torch.compiler.is_compiling():
        learn_if_first(module)
        return
    scope = current_scope()
    if scope is not None:
        scope.learn_names(module)


def _replay_from_here() -> recompute.Replay | None:
    scope = current_scope()
    return None if scope is None else functools.partial(_replay, scope, scope.snapshot())


@contextlib.contextmanager
def _replay(scope: Scope, calls: Counter[str]) -> Iterator[None]:
    token = _scope.set(scope)
    try:
        with scope.rewound(calls):
            yield
    finally:
        _scope.reset(token)


class _Ambient(threading.local):
    """Two words of 64 bits that torch's generator fills: a buffer a thread, read in place."""

    def __init__(self) -> None:
        self.buffer = torch.empty(2, dtype=torch.int64, device="cpu")
        self.words = self.buffer.numpy()


_ambient = _Ambient()


def ambient_words(*, is_shared: bool = False) -> tuple[int, int]:
    """Key and stream, signed, from torch's default CPU generator.

    Ranks of a process group are often seeded alike, and would then drop the same elements of
    different examples. So the rank is folded into the stream, unless `is_shared`.
    """
    _ambient.buffer.random_(-(1 << 63), None)
    key, stream = _ambient.words.tolist()
    if not is_shared and dist.is_initialized():
        stream ^= dist.get_rank()
    return key, stream
