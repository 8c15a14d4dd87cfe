"""Names of several sub-networks in one forward: each draws in its own part of every tensor.

A batch that is repeated `S` times runs as one. Where something is dropped, the tensor is cut into
`S` parts, and the draw is made for each part under the names of its sub-network: the very call
that this sub-network makes when it runs alone. How tensors are to be cut is learned from a forward
of one sub-network: the dimension that is now `S` times as long holds the examples. What does not
grow with the batch, such as a weight, cannot be cut.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from dropkit.core.address import Address
from dropkit.core.folds import folded
from dropkit.core.place import Place
from dropkit.core.scope import Rows, Scope, current_scope, scope_variable

T = TypeVar("T")
#: Of the tensors that are dropped in a forward of one sub-network, in order; None cannot be cut.
Shapes = list[tuple[int, ...] | None]


class ApartError(Exception):
    """Not for users: these sub-networks cannot share a forward, and should run one by one."""


class MisreadError(ApartError):
    """Not for users: ids of examples were read into a tensor that has others in its first dimension.

    Args:
        shape: Of the tensor, for one sub-network.
        dim: Where its examples are; None for nowhere.
    """

    def __init__(self, shape: tuple[int, ...], dim: int | None) -> None:
        super().__init__(shape, dim)
        self.shape, self.dim = shape, dim


class Samples(Scope):
    """The names of several sub-networks.

    Args:
        roots: One a sub-network.
        rows: The ids of the examples, which they share.
        shapes: From a forward of one sub-network; empty for that one itself, which fills it.

    Attributes:
        n: How many there are.
        parts: The names of each.
    """

    def __init__(self, roots: Sequence[Address], rows: Rows, shapes: Shapes) -> None:
        super().__init__(roots[0], rows)
        self.n = len(roots)
        self._roots, self._shapes, self._n_draws = roots, shapes, 0
        self._addresses: dict[tuple[str, int], list[Address]] = {}
        self._rows = rows
        self.parts = [self.part(i, root) for i, root in enumerate(roots)]

    def each(self, x: Tensor, draw: Callable[[Tensor], Tensor], *, is_batch: bool = True) -> Tensor:
        """What `draw` makes of the part of `x` that each sub-network has, put together again.

        Args:
            x: What is dropped.
            draw: Drops it, or a part of it.
            is_batch: Whether it holds examples; a parameter does not.

        Raises:
            ApartError: `x` cannot be cut.
            MisreadError: It cannot, and ids were read into it.
        """
        if self.n == 1:
            return self.results(x.shape, lambda _: draw(x), is_batch=is_batch)[0][0]
        if not is_batch:
            raise ApartError("a parameter")
        dim = self.dim(x.shape)
        parts = iter(x.chunk(self.n, dim))
        return torch.cat([draw(next(parts)) for _ in self._in_turn()], dim)

    def results(
        self,
        shape: Sequence[int],
        draw: Callable[[tuple[int, ...]], T],
        *,
        is_batch: bool = True,
    ) -> tuple[list[T], int]:
        """What `draw` gives for the part of `shape` that each sub-network has; and where it is cut.

        Raises:
            ApartError: What is of this shape cannot be cut.
        """
        if self.n == 1:
            self._shapes.append(tuple(shape) if is_batch else None)
            return [draw(tuple(shape)) for _ in self._in_turn()], 0
        dim = self.dim(shape)
        part = (*shape[:dim], shape[dim] // self.n, *shape[dim + 1 :])
        return [draw(part) for _ in self._in_turn()], dim

    def address(self, name: str, ordinal: int, index: int) -> Address:
        """The address of a call of one of the sub-networks."""
        if (name, ordinal) not in self._addresses:
            if name not in self._of_sites:
                self._of_sites[name] = folded(self._roots, name)
            self._addresses[name, ordinal] = folded(self._of_sites[name], ordinal)
        return self._addresses[name, ordinal][index]

    def begin(self) -> None:
        """Forget all calls."""
        super().begin()
        self._of_sites: dict[str, list[Address]] = {}

    def next_address(self, site: nn.Module | None, name: str | None = None) -> Address:
        """The address of a call that is not made part by part: only one alone can have that."""
        if self.n > 1:
            raise ApartError("a draw that is not made part by part")
        self._shapes.append(None)
        return self.parts[0].next_address(site, name)

    def place(self, shape: Sequence[int]) -> Place | None:
        """Likewise."""
        if self.n > 1:
            raise ApartError("a place that is not asked for part by part")
        return self.parts[0].place(shape)

    def snapshot(self) -> Counter[str]:
        """How often each site was called so far."""
        return self.parts[0].snapshot()

    def _in_turn(self) -> Iterator[None]:
        for part in self.parts:
            token = scope_variable.set(part)
            try:
                yield
            finally:
                scope_variable.reset(token)

    def part(self, index: int, root: Address) -> "Part":
        """The names of one of them."""
        return Part(self, index, root, self._rows)

    def dim(self, shape: Sequence[int]) -> int:
        """The dimension of the examples, at the next draw."""
        alone = self._shapes[self._n_draws] if self._n_draws < len(self._shapes) else None
        self._n_draws += 1
        if alone is not None:
            for dim, size in enumerate(alone):
                if (*alone[:dim], size * self.n, *alone[dim + 1 :]) == tuple(shape):
                    if dim and self._is_read(alone):
                        raise MisreadError(alone, dim)
                    return dim
            if alone == tuple(shape) and self._is_read(alone):
                raise MisreadError(alone, None)
        raise ApartError(f"a tensor of shape {tuple(shape)}, which is {alone} for one alone")

    def _is_read(self, alone: tuple[int, ...]) -> bool:
        """Whether ids are read into a tensor of this shape."""
        return self._ids is not None and bool(alone) and alone[0] % len(self._ids) == 0

    def divided(self, shape: Sequence[int], dim: int) -> int:
        """`dim`, where it can be cut into equal parts."""
        if len(shape) <= dim or shape[dim] % self.n:
            raise ApartError(f"a tensor of shape {tuple(shape)} for {self.n} sub-networks")
        return dim


class Part(Scope):
    """The names of one of them."""

    def __init__(self, whole: Samples, index: int, root: Address, rows: Rows) -> None:
        super().__init__(root, rows)
        self._whole, self._index = whole, index
        self._names = whole._names  # noqa: SLF001 - learned once for all

    def begin_again(self) -> None:
        """Count calls from 0 on, under the names that are learned."""
        with self._lock:
            self._calls.clear()

    def next_address(self, site: nn.Module | None, name: str | None = None) -> Address:
        """The address of the next call at `site`."""
        return self._whole.address(*self._next_call(site, name), self._index)


def opened() -> Samples | None:
    """The names of several sub-networks, where they are what is open here; else None."""
    if torch.compiler.is_compiling():  # sub-networks run eagerly
        return None
    scope = current_scope()
    return scope if isinstance(scope, Samples) else None


def of_part(noise: Sequence[int], whole: Sequence[int], part: Sequence[int]) -> tuple[int, ...]:
    """The shape of a part's noise, from that of the whole: elements share what they shared."""
    return tuple(own if n == size else n for n, size, own in zip(noise, whole, part, strict=True))
