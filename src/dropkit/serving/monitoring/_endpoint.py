"""The metrics of a service without ASGI, on a port of their own."""

import threading
from types import TracebackType
from typing import Any, Self


class Endpoint:
    """A server for Prometheus that runs until it is closed; also a context manager.

    Attributes:
        address: Of the interface that it listens on.
        port: Likewise.
    """

    def __init__(self, server: Any, thread: threading.Thread) -> None:
        self._server, self._thread = server, thread
        self.address, self.port = str(server.server_address[0]), int(server.server_address[1])

    def close(self) -> None:
        """Stop listening and free the port; a second time does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
