"""A monitor in front of an ASGI application, FastAPI's for example."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from dropkit.errors import OptionError
from dropkit.serving.monitoring._monitor import Monitor
from dropkit.serving.monitoring._repeats import differ

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
#: Digits of a length that Python will read, and more than any body has.
_DIGITS = 18
#: A repeat that had to be turned away says nothing about the answer.
_COME_AGAIN = frozenset({429, 503})

logger = logging.getLogger("dropkit.serving")


class MonitorMiddleware:
    """Times every request, repeats some, and serves what the monitor counted.

    ``app.add_middleware(MonitorMiddleware, monitor=monitor, repeat=["/answer"])`` in FastAPI and
    Starlette. A repeat runs after the answer has been sent, so that nobody waits for it; what the
    application observes in it is not counted.

    Args:
        app: Any ASGI application.
        monitor: Keeps the counts.
        repeat: Paths whose requests may be run twice: those that answer and change nothing.
        metrics_path: Where Prometheus reads; None serves it nowhere.
        timed: Paths whose answers count in the latency; None counts all. Leave out what machines
            poll, a health check say. Refusals and failures (status 400 and above) never count.
        max_bytes: Greatest body of a request in bytes; a larger one is answered with status 413.

    Raises:
        OptionError: `max_bytes` is below 1, or a path does not begin with a slash.
    """

    def __init__(
        self,
        app: App,
        *,
        monitor: Monitor,
        repeat: Collection[str] = (),
        timed: Collection[str] | None = None,
        metrics_path: str | None = "/metrics",
        max_bytes: int = 1 << 20,
    ) -> None:
        if max_bytes < 1:
            raise OptionError(f"`max_bytes` must be at least 1; got {max_bytes!r}.")
        for path in (
            *repeat,
            *(timed or ()),
            *([metrics_path] if metrics_path is not None else []),
        ):
            if not path.startswith("/"):
                raise OptionError(f"a path must begin with a slash; got {path!r}.")
        self.app, self.monitor, self.repeat = app, monitor, frozenset(repeat)
        self.timed = None if timed is None else frozenset(timed)
        self.metrics_path, self.max_bytes = metrics_path, max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or hand on what is none."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == self.metrics_path:
            text = await asyncio.to_thread(self.monitor.metrics)
            await _respond(send, 200, text, _METRICS_TYPE)
        else:
            await self._watched(scope, receive, send)

    async def _watched(self, scope: Message, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        try:
            body = await self._body(scope, receive)
        except _TooLargeError:
            self.monitor.answered(413)
            detail = f"the body must have at most {self.max_bytes} bytes."
            await _respond(send, 413, json.dumps({"detail": detail}).encode(), b"application/json")
            return
        except _GoneError:  # half a request is none, and nobody waits for an answer
            self.monitor.answered(499)
            return
        is_chosen = scope["path"] in self.repeat and self.monitor.is_chosen()
        first = _Response(send, self.max_bytes if is_chosen else 0)
        again = _replayed(body, receive)
        if not is_chosen:
            del body  # the application reads it once; nobody else needs it
        try:
            await self.app(scope, again, first)
        except BaseException:
            self.monitor.answered(500)
            raise
        self.monitor.answered(first.status)
        if first.status < 400 and (self.timed is None or scope["path"] in self.timed):
            self.monitor.observe(latency_s=time.perf_counter() - begin)
        if is_chosen and first.is_whole and first.status < 300:
            await self._repeat(scope, body, first)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        """All of it.

        Raises:
            _TooLargeError: It is too large, and was not read on.
            _GoneError: The client went before it had sent all of it.
        """
        length = dict(scope["headers"]).get(b"content-length", b"0").strip()
        if length.isdigit() and (len(length) > _DIGITS or int(length) > self.max_bytes):
            raise _TooLargeError
        parts, size, has_more = [], 0, True
        while has_more:
            message = await receive()
            if message["type"] != "http.request":
                raise _GoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.max_bytes:
                raise _TooLargeError
            has_more = message.get("more_body", False)
        return b"".join(parts)

    async def _repeat(self, scope: Message, body: bytes, first: "_Response") -> None:
        second = _Response(None, self.max_bytes)
        alone = {**scope, "state": dict(scope.get("state", {}))}
        try:
            with self.monitor.repeating():
                await self.app(alone, _replayed(body, second.disconnected), second)
        except Exception:
            logger.exception("a repeated request failed where the first one did not")
            self.monitor.repeated(is_same=False)
            return
        if second.is_whole and second.status not in _COME_AGAIN:
            is_same = first.status == second.status and not differ(
                bytes(first.body),
                bytes(second.body),
                tolerance=self.monitor.tolerance,
                ignore=self.monitor.ignore,
            )
            self.monitor.repeated(is_same=is_same)


class _TooLargeError(Exception):
    """A body above `max_bytes`."""


class _GoneError(Exception):
    """A client that went in the middle of its request."""


class _Response:
    """What an application sends: handed on, and its body kept where that is wanted.

    Attributes:
        status: Of the response.
        body: As far as it is kept.
        is_whole: Whether all of it is.
    """

    def __init__(self, send: Send | None, keep_bytes: int) -> None:
        self._send, self._keep_bytes = send, keep_bytes
        self._is_over = asyncio.Event()
        self.status, self.body, self.is_whole = 500, bytearray(), False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self._keep(message)
        if self._send is not None:
            await self._send(message)

    async def disconnected(self) -> Message:
        """What a client says who stays until the response ends, or is too long to be compared."""
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    def _keep(self, message: Message) -> None:
        if len(self.body) <= self._keep_bytes:
            self.body += message.get("body", b"")
        is_last, fits = not message.get("more_body", False), len(self.body) <= self._keep_bytes
        self.is_whole = is_last and fits
        if is_last or not fits:
            self._is_over.set()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` with the body that was read from it put back."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _respond(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
