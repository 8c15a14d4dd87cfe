"""What was done to a model, and how to take it back."""

import contextlib
from types import TracebackType
from typing import Self


class Change:
    """Undo it with `undo`, or by leaving a ``with`` block.

    Args:
        steps: Closed to undo; its callbacks run in reverse order.
    """

    def __init__(self, steps: contextlib.ExitStack) -> None:
        self._steps = steps

    def undo(self) -> None:
        """Put everything back; a second call does nothing."""
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()
