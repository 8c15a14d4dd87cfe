"""A state of the whole process that lasts while anyone needs it."""

import contextlib
import threading


class Counted:
    """Begun by the first who enters, in whatever thread, and ended by the last who leaves.

    Attributes:
        count: How many are inside.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == 1:
                self.begin(self._stack)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1
            if self.count == 0:
                self._stack.close()

    def begin(self, stack: contextlib.ExitStack) -> None:
        """Called when the first enters; `stack` is closed when the last has left."""
