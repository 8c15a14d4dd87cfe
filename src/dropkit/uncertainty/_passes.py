"""Runs sub-networks, several in one forward where that changes nothing but the time."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from dropkit.core.samples import MisreadError, Shapes
from dropkit.core.scope import Rows
from dropkit.errors import AddressError
from dropkit.uncertainty._memory import PeakMemory
from dropkit.uncertainty._prefix import Prefix
from dropkit.uncertainty._sampling import Batch, samples_at

_ROUNDING = math.sqrt(torch.finfo(torch.float32).eps)


class Passes:
    """The answers of one sub-network after another, in as few forwards as memory allows.

    The first sub-network runs alone. It shows how much memory a forward takes and which tensors are
    dropped. Then the batch is repeated, and each sub-network draws its masks in its part of every
    tensor. In the first such forward that first sub-network runs again, at the end of the batch:
    unless it gives what it gave alone, or where a mask cannot be cut into such parts, or where the
    model draws numbers that are not dropkit's, all sub-networks run alone.

    Args:
        model: Whose dropout is on.
        batch: Its arguments.
        seed: Of the masks.
        answer: From what the model gives, how many examples that has and the number of the first
            sub-network in it, to their answers, ``(B, *)``.
        memory_budget: In bytes, for what a forward holds beside parameters and arguments.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        seed: int,
        answer: Callable[[Any, int, int], Tensor],
        memory_budget: int,
    ) -> None:
        self._model, self._batch, self._seed, self._answer = model, batch, seed, answer
        self._budget = memory_budget
        self._prefix = Prefix(model)
        self._shapes: Shapes = []
        self._at_once = 1
        self._is_first, self._is_checked = True, False
        self._reference: tuple[int, Tensor] | None = None

    def __enter__(self) -> Self:
        self._prefix.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._prefix.__exit__(*error)

    @property
    def has_drawn(self) -> bool:
        """Whether the first pass drew a mask."""
        return self._prefix.has_drawn

    def forget(self) -> None:
        """The next pass is on other examples."""
        self._prefix.forget()
        self._is_first = True

    def answers(self, samples: Sequence[int], which: Tensor, rows: Rows) -> list[Tensor]:
        """What some of these sub-networks say, the first ones of them, of these examples."""
        if self._is_first:
            return [self._first(samples[0], which, rows)]
        if self._at_once > 1 and len(samples) > 1:
            n_passes = -(-len(samples) // self._at_once)
            together = list(samples[: -(-len(samples) // n_passes)])
            found = self._together(together, which, rows)
            if found is not None:
                return found
            self._at_once = 1
        return [self._run([samples[0]], which, rows)]

    def _first(self, sample: int, which: Tensor, rows: Rows) -> Tensor:
        self._shapes.clear()
        if not self._budget:
            found = self._run([sample], which, rows)
        else:
            before = _others()
            shapes = self._shapes  # torch may keep the mode, which must not keep the model
            with PeakMemory(lambda: bool(shapes)) as peak:  # from the first mask on
                found = self._run([sample], which, rows)
            is_named = not self._prefix.moved_generators and before == _others()
            may_share = is_named and None not in self._shapes
            self._at_once = max(1, self._budget // max(1, peak.bytes)) if may_share else 1
        self._is_first = False
        self._reference = (sample, found)
        if rows is not None and self._at_once == 1 and not self._is_checked:
            self._is_checked = True
            self._together([sample], which, rows, is_probe=True)  # are ids read where they should?
        return found

    def _together(
        self, samples: list[int], which: Tensor, rows: Rows, *, is_probe: bool = False
    ) -> list[Tensor] | None:
        """Their answers from one forward; None where they must run apart."""
        asked = list(samples)
        if self._reference is not None and (is_probe or not self._is_checked):
            asked.append(self._reference[0])
        try:
            found = self._run(asked, which, rows).unflatten(0, (len(asked), len(which)))
        except MisreadError as error:
            raise AddressError(_misread(error)) from None
        except Exception:  # noqa: BLE001 - whatever a repeated batch breaks; else it comes again
            return None
        if self._reference is not None and not self._is_checked:
            if not are_close(found[-1], self._reference[1]):
                return None
            self._is_checked = True
        return list(found[: len(samples)])

    def _run(self, samples: Sequence[int], which: Tensor, rows: Rows) -> Tensor:
        n = len(samples)
        args, kwargs = self._batch.of(which, n)
        shapes = self._shapes if n > 1 else []
        if n == 1 and self._is_first:
            shapes = self._shapes
        with (
            samples_at(self._seed, samples, rows, shapes),
            self._prefix.a_pass(len(which), n),
        ):
            out = self._model(*args, **kwargs)
            return self._answer(out, n * len(which), samples[0])


def _misread(error: MisreadError) -> str:
    where = "in none" if error.dim is None else f"in dimension {error.dim}"
    return (
        "`ids` and `tolerance` need the examples in the first dimension of all that is dropped; of "
        f"a tensor of shape {error.shape} they are {where}. Leave them out for this model."
    )


def _others() -> list[Any]:
    """Where the generators of Python and numpy stand, with which some models skip layers."""
    _, words, *rest = np.random.get_state()  # noqa: NPY002 - models draw from it
    return [random.getstate(), np.asarray(words).tolist(), rest]


def are_close(found: Tensor, alone: Tensor) -> bool:
    """Whether two answers differ by no more than rounding: other masks make more of a difference.

    What counts as rounding is half the digits of float32, whatever the type of the answer was.
    """
    if found.shape != alone.shape:
        return False
    scale = float(alone.abs().max())
    return float((found - alone).abs().max()) <= _ROUNDING * scale
