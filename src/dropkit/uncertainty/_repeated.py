"""What was computed once and is read as if it had been computed for a batch repeated many times."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map_only


class Repeated(Tensor):
    """A tensor whose rows come `times` times, which it makes when somebody first looks at it.

    Most of what modules gave before the first mask is only read by others of them, which do not
    run again.
    """

    _once: Tensor
    _times: int
    _whole: Tensor | None

    @classmethod
    def of(cls, once: Tensor, times: int) -> "Repeated":
        """`once`, ``(B, *)``, as if it were ``(times * B, *)``."""
        self = once.detach().as_subclass(cls)
        self._once, self._times, self._whole = once, times, None
        return self

    def made(self) -> Tensor:
        """The tensor itself: the same each time, for somebody may write to it."""
        if self._whole is None:
            self._whole = self._once.repeat(self._times, *[1] * (self._once.dim() - 1))
        return self._whole

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Whatever torch does with it, it does with the tensor itself."""
        del types
        args, kwargs = made(args), made(dict(kwargs or {}))
        return func(*args, **kwargs)


def made(value: Any) -> Any:
    """`value` with the tensors themselves in place of what stands for them."""
    return tree_map_only(Repeated, Repeated.made, value)


def repeated(value: Any, n: int, times: int) -> Any:
    """What a module gave, with tensors that may be written to; those of `n` rows are repeated.

    Args:
        value: Tensors, numbers and texts, in tuples and mappings.
        n: Rows of the batch.
        times: How often it is repeated.
    """
    if isinstance(value, Tensor):
        is_of_examples = value.dim() > 0 and value.shape[0] == n
        return Repeated.of(value, times) if is_of_examples else value.clone()
    if isinstance(value, Mapping):
        to: Any = copy.copy(value)
        for key, part in value.items():
            to[key] = repeated(part, n, times)
        return to
    if isinstance(value, tuple):
        parts = [repeated(part, n, times) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
