"""Sub-networks of a model: everything as in use, but for the dropout of the named sites."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.core.address import Address, as_u64
from dropkit.core.naming import masks_at, named_by
from dropkit.core.samples import Samples, Shapes
from dropkit.core.scope import Rows
from dropkit.errors import DataError, OptionError, ShapeError
from dropkit.sites.accelerate import accelerate
from dropkit.sites.awaken import awaken
from dropkit.sites.watch import arguments_of

#: Names of the sites whose dropout is on; None for all.
Only = str | Sequence[str] | None


@contextlib.contextmanager
def awakened(model: nn.Module, only: Only) -> Iterator[None]:
    """Inside the block the dropout of the named sites is on, and on dropkit's core."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(accelerate(model))
        stack.enter_context(awaken(model, only))
        yield


def uncompiled(model: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` was given, or `model` itself."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


@contextlib.contextmanager
def sample_at(seed: int, sample: int, rows: Rows) -> Iterator[None]:
    """Inside the block masks are those of one sub-network.

    What a model draws from torch's generator by itself, such as noise, is the same each time too,
    in the same batch; that generator is left where it then stands.
    """
    number = Address.from_seed(seed).fold("torch").fold(sample).key
    torch.default_generator.manual_seed(number)  # torch.manual_seed reads the stack each time
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    with masks_at(seed, sample=sample, rows=rows):
        yield


@contextlib.contextmanager
def samples_at(seed: int, samples: Sequence[int], rows: Rows, shapes: Shapes) -> Iterator[None]:
    """`sample_at` for several sub-networks in one pass, whose names do not depend on the others.

    Args:
        seed: Of the masks.
        samples: Their numbers.
        rows: The ids of the examples, of which the batch has all once for each sub-network.
        shapes: Of what is dropped in a pass of one; empty in that pass, which fills it.
    """
    with sample_at(seed, samples[0], rows):  # for torch's generator
        root = Address.from_seed(seed).fold(0)
        with named_by(Samples([root.fold(k) for k in samples], rows, shapes)):
            yield


def _devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


class SubNetwork(nn.Module):
    """One sub-network of a model, as a plain module.

    It has the parameters of the model, and in eval mode and in training mode alike it does the
    same: dropout of the named sites under the masks of one sample, everything else as in use. The
    model is as before after each call; gradients go through.

    Args:
        model: Any module.
        only: Glob patterns over the names of sites; None for all.
        seed: Of the masks.
        sample: Which sub-network.
        ids: Of the examples that it will be called on; None numbers them 0, 1, ...
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        only: Only = None,
        seed: int = 0,
        sample: int = 0,
        ids: Rows = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.only, self.seed, self.sample = only, as_u64(seed, "seed"), as_u64(sample, "sample")
        self.ids = ids

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives, with these masks."""
        check_ids(self.ids, n_examples((*args, *kwargs.values())))
        with (
            torch.random.fork_rng(devices=_devices()),
            awakened(self.model, self.only),
            sample_at(self.seed, self.sample, self.ids),
        ):
            return self.model(*args, **kwargs)

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr."""
        return f"seed={self.seed}, sample={self.sample}"


def n_examples(values: Sequence[Any]) -> int:
    """How many examples the arguments of a model hold: the first dimension of the first tensor.

    Raises:
        ShapeError: There is no tensor with a dimension, or no example.
    """
    tensors = [x for x in values if isinstance(x, Tensor)]
    if not tensors or not tensors[0].dim():
        raise ShapeError("`batch` must hold a tensor whose first dimension are examples; got none.")
    if not tensors[0].shape[0]:
        raise ShapeError(
            f"`batch` must hold at least one example; got shape {tuple(tensors[0].shape)}."
        )
    return tensors[0].shape[0]


def check_ids(ids: Rows, n: int) -> None:
    """Raise ShapeError where there is not one id for each of `n` examples."""
    if ids is None or isinstance(ids, int):
        return
    if len(ids) != n:
        raise ShapeError(
            f"`ids` must hold one whole number an example; got {len(ids)} for {n} examples."
        )


def rows_of(ids: Rows, n: int) -> Tensor:
    """The ids of `n` examples: ``(n,)`` integers."""
    if ids is None or isinstance(ids, int):
        first = 0 if ids is None else as_u64(ids, "ids")
        first -= (1 << 64) * (first >= 1 << 63)  # as masks_at counts: modulo 2**64
        return torch.arange(n, device="cpu") + first
    return torch.as_tensor(ids)


class Batch:
    """The arguments of a model, of which single examples can be taken.

    Args:
        batch: A tensor, a tuple of arguments, or a mapping of names to arguments.

    Raises:
        OptionError: It is none of these.
        ShapeError: It holds no example.
    """

    def __init__(self, batch: Any) -> None:
        self.args, self.kwargs = arguments_of(batch)
        self.n = n_examples((*self.args, *self.kwargs.values()))

    def of(self, which: Tensor, times: int = 1) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments with these examples only: tensors with one row an example are cut.

        All are copies, as a model may write to what it is given.

        Args:
            which: ``(B,)`` indices.
            times: How often the batch of them is repeated.
        """
        which = which.repeat(times)

        def cut(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            is_of_examples = x.dim() > 0 and x.shape[0] == self.n
            return x[which.to(x.device)] if is_of_examples else x.clone()

        return tuple(map(cut, self.args)), {key: cut(x) for key, x in self.kwargs.items()}


def picked(output: Any, pick: Callable[[Any], Any] | None) -> Tensor:
    """The tensor of a model's output that is predicted with.

    Args:
        output: Whatever the model gave.
        pick: From it to a tensor; None takes ``output.logits`` or the first floating tensor.

    Raises:
        OptionError: There is no such tensor.
    """
    found = pick(output) if pick is not None else _first_floating(output)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = type(output if pick is None else found).__name__
        raise OptionError(
            f"`output` must pick a floating tensor from what the model gives; got a {kind}."
        )
    return found


def _first_floating(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits
    if isinstance(output, Mapping):
        if isinstance(output.get("logits"), Tensor):
            return output["logits"]
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        for part in output:
            found = _first_floating(part)
            if isinstance(found, Tensor) and found.is_floating_point():
                return found
    return None


def check_finite(values: Tensor, sample: int) -> None:
    """Raise DataError where a sub-network's answer holds nan or an infinity."""
    bad = ~values.isfinite()
    if bool(bad.any()):
        rows = bad.flatten(1).any(1) if values.dim() > 1 else bad
        first = int(rows.nonzero()[0])
        raise DataError(
            f"`model` must give finite numbers; got nan or an infinity for {int(rows.sum())} of "
            f"{len(rows)} examples in sample {sample}, the first of them at position {first}."
        )
