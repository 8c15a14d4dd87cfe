"""A call of a function that drops, and those who see it before it is made."""

from collections.abc import Callable
from typing import Any, NamedTuple

Function = Callable[..., Any]


class Slot(NamedTuple):
    """Where an argument of a function stands: its position, its name, and what it is if left out."""

    position: int
    name: str
    default: Any

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The argument in a call."""
        if len(args) > self.position:
            return args[self.position]
        return kwargs.get(self.name, self.default)

    def write(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call with another argument there."""
        if len(args) > self.position:
            return (*args[: self.position], value, *args[self.position + 1 :]), kwargs
        return args, {**kwargs, self.name: value}


class Call:
    """A call of a function that drops, on its way to torch.

    Attributes:
        function: Its name, as torch has it.
        rate: Drop rate asked for, in [0, 1], which a steer may change; nan where each element has
            its own.
        is_training: Whether it is to draw at all, which a steer may change.
        is_gated: Whether the function has an argument that says so; else a rate of 0 does.
        input: What is dropped; for attention the query.
        note: What a steer keeps with the call.
    """

    __slots__ = ("function", "input", "is_gated", "is_training", "note", "rate")

    def __init__(
        self, function: str, rate: float, is_training: bool, is_gated: bool, x: Any
    ) -> None:
        self.function, self.rate, self.is_training = function, rate, is_training
        self.is_gated, self.input = is_gated, x
        self.note: Any = None

    @property
    def draws(self) -> bool:
        """Whether a mask will be drawn."""
        return self.is_training and not self.rate <= 0.0


class Steer:
    """Sees the calls of functions that drop before they are made, the latest steer first.

    Attributes:
        sees_last: Whether it is to see what all others have made of a call.
    """

    sees_last = False

    def see(self, call: Call) -> None:
        """Look at a call of eager code, and change its rate or mode."""

    def see_numbers(self, function: str, out: Any) -> None:
        """Look at what ``torch.rand`` or the like has given in eager code."""

    def must_see(self, call: Call) -> bool:
        """Whether a call that a compiler traces may be one to change.

        Whose call it is can be read off the stack only when it is made, so a compiler leaves such
        a call to Python.
        """
        del call
        return False

    def after(self, call: Call, out: Any) -> Any:
        """Look at what a call of eager code gave, and return what it is to give."""
        del call
        return out
