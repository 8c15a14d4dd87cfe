"""The middleware in front of real applications: times, repeats, refuses, and keeps no text."""

import asyncio
import gc
import json
import secrets
import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from dropkit.errors import OptionError
from dropkit.serving import Monitor, MonitorMiddleware

Talk = Callable[[httpx.AsyncClient], Awaitable[Any]]


def _service(
    monitor: Monitor, *, is_sure: bool = True, **options: Any
) -> tuple[FastAPI, list[str]]:
    """An application that answers with the length of a text, or with how often it was asked."""
    app, calls = FastAPI(), []

    @app.post("/answer")
    async def answer(request: Request) -> dict[str, Any]:
        text = (await request.json())["text"]
        calls.append("answer")
        monitor.observe(disagreement=0.25, handed_over=False)
        return {"length": len(text), "n": 0 if is_sure else len(calls)}

    @app.post("/order")
    async def order() -> dict[str, int]:
        calls.append("order")
        return {"n": len(calls)}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a" * 100] * 5))

    @app.post("/broken")
    async def broken() -> None:
        raise ValueError("lost")

    app.add_middleware(MonitorMiddleware, monitor=monitor, repeat=["/answer", "/stream"], **options)
    return app, calls


def _run(app: Any, talk: Talk) -> Any:
    async def inside() -> Any:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await talk(client)

    return asyncio.run(inside())


def _metrics(app: Any) -> str:
    return str(_run(app, lambda client: client.get("/metrics")).text)


def test_sure_service_does_not_ring() -> None:
    """Each request to a path that may be repeated is run twice, and counted once."""
    monitor = Monitor(share=1.0)
    app, calls = _service(monitor)
    response = _run(app, lambda client: client.post("/answer", json={"text": "hello"}))
    assert (200, {"length": 5, "n": 0}) == (response.status_code, response.json())
    assert ["answer", "answer"] == calls
    said = _metrics(app)
    assert 'dropkit_repeats_total{answers="same"} 1.0' in said
    assert "dropkit_disagreement_count 1.0" in said
    assert "dropkit_request_seconds_count 1.0" in said
    assert 'dropkit_requests_total{status="2xx"} 1.0' in said
    assert () == monitor.check()


def test_answer_that_changes_rings() -> None:
    """A service that does not say the same thing twice."""
    monitor = Monitor(share=1.0)
    app, _ = _service(monitor, is_sure=False)
    _run(app, lambda client: client.post("/answer", json={"text": "hello"}))
    assert ["repeats"] == [alarm.of for alarm in monitor.check()]


def test_ignored_key_may_change() -> None:
    """An id, say."""
    monitor = Monitor(share=1.0, ignore=["n"])
    app, _ = _service(monitor, is_sure=False)
    _run(app, lambda client: client.post("/answer", json={"text": "hello"}))
    assert () == monitor.check()


def test_what_changes_something_is_run_once() -> None:
    """Paths that were not named are never repeated."""
    app, calls = _service(Monitor(share=1.0))
    _run(app, lambda client: client.post("/order"))
    assert ["order"] == calls


def test_stream_is_handed_on() -> None:
    """A body in parts reaches the client whole, and its repeat is compared."""
    monitor = Monitor(share=1.0)
    app, _ = _service(monitor)
    assert 500 == len(_run(app, lambda client: client.get("/stream")).content)
    assert 'dropkit_repeats_total{answers="same"} 1.0' in _metrics(app)


def test_large_answer_is_not_kept() -> None:
    """One above `max_bytes` is sent whole, and not repeated."""
    app, _ = _service(Monitor(share=1.0), max_bytes=300)
    assert 500 == len(_run(app, lambda client: client.get("/stream")).content)
    assert "dropkit_repeats_total{" not in _metrics(app)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_oversized_request_is_refused(is_chunked: bool) -> None:
    """Status 413 with one sentence; the application is not called."""
    app, calls = _service(Monitor(), max_bytes=100)

    async def parts() -> Any:
        for _ in range(20):
            yield b"x" * 10

    body = parts() if is_chunked else b"x" * 200
    response = _run(app, lambda client: client.post("/answer", content=body))
    assert 413 == response.status_code
    assert {"detail": "the body must have at most 100 bytes."} == response.json()
    assert [] == calls
    assert 'dropkit_requests_total{status="4xx"} 1.0' in _metrics(app)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"other": 1}'])
def test_malformed_request_is_the_applications(body: bytes) -> None:
    """It reaches the application, whose failure is counted and answered."""
    app, _ = _service(Monitor(share=1.0))
    assert 500 == _run(app, lambda client: client.post("/answer", content=body)).status_code
    assert 'dropkit_requests_total{status="5xx"} 1.0' in _metrics(app)


def test_failure_is_counted() -> None:
    """An exception goes on to the server, as without the middleware."""
    app, _ = _service(Monitor())
    assert 500 == _run(app, lambda client: client.post("/broken")).status_code
    assert 'dropkit_requests_total{status="5xx"} 1.0' in _metrics(app)


def test_repeat_that_fails_rings_and_harms_nobody() -> None:
    """The first answer has gone out already."""
    monitor = Monitor(share=1.0)
    n_calls = 0

    async def app(_: Any, receive: Any, send: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:
            raise RuntimeError("only once")
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    watched = MonitorMiddleware(app, monitor=monitor, repeat=["/"])
    assert b"fine" == _run(watched, lambda client: client.get("/")).content
    assert ["repeats"] == [alarm.of for alarm in monitor.check()]


def _holds(root: object, text: str) -> bool:
    """Whether a text or bytes with `text` in it can be reached from `root`."""
    seen, queue = set(), [root]
    elsewhere = type | types.ModuleType | types.FrameType | types.FunctionType | types.MethodType
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, elsewhere):
            continue
        seen.add(id(item))
        if isinstance(item, str | bytes | bytearray) and text in str(item):
            return True
        queue.extend(gc.get_referents(item))
    return False


def test_no_text_is_kept() -> None:
    """After a request, no text of it or of its answer can be reached from the monitor."""
    monitor = Monitor(share=1.0)
    app, _ = _service(monitor)
    secret = secrets.token_hex(16)  # in no code either
    _run(app, lambda client: client.post("/answer", json={"text": secret}))
    assert secret not in _metrics(app)
    assert not _holds(monitor, secret)
    assert secret not in json.dumps(monitor.record_baseline().to_dict())
    monitor._ringing["text"] = {"deep": [f"asked: {secret}"]}  # type: ignore[assignment]
    assert _holds(monitor, secret)  # the search can fail


def test_other_traffic_is_handed_on() -> None:
    """Lifespan and websockets are the application's."""
    kinds = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        kinds.append(scope["type"])

    watched = MonitorMiddleware(app, monitor=Monitor())
    for kind in ("lifespan", "websocket"):
        asyncio.run(watched({"type": kind}, None, None))  # type: ignore[arg-type]
    assert ["lifespan", "websocket"] == kinds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bytes": 0}, r"^`max_bytes` must be at least 1; got 0\.$"),
        ({"repeat": ["answer"]}, r"^a path must begin with a slash; got 'answer'\.$"),
        ({"metrics_path": "metrics"}, r"^a path must begin with a slash; got 'metrics'\.$"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    """One sentence."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send

    with pytest.raises(OptionError, match=message):
        MonitorMiddleware(app, monitor=Monitor(), **options)


def _http(path: str = "/answer", *headers: tuple[bytes, bytes]) -> Any:
    return {"type": "http", "path": path, "headers": list(headers)}


def test_half_a_request_is_not_answered() -> None:
    """The client has gone before all of it was sent: the application never sees it."""
    called, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        called.append(scope)

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    messages = iter(
        [
            {"type": "http.request", "body": b'{"text": ', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    monitor = Monitor()
    asyncio.run(MonitorMiddleware(app, monitor=monitor)(_http(), receive, send))
    assert ([], []) == (called, sent)
    assert 'dropkit_requests_total{status="4xx"} 1.0' in monitor.metrics().decode()


def test_length_that_python_does_not_read() -> None:
    """A number of 5,000 digits is too large, and no crash."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    watched = MonitorMiddleware(None, monitor=Monitor())  # type: ignore[arg-type] # never called
    scope = _http("/", (b"content-length", b"9" * 5000))
    asyncio.run(watched(scope, None, send))  # type: ignore[arg-type] # never read
    assert 413 == sent[0]["status"]
    assert {"detail": "the body must have at most 1048576 bytes."} == json.loads(sent[1]["body"])


@pytest.mark.parametrize("status", [429, 503])
def test_repeat_that_is_turned_away_does_not_ring(status: int) -> None:
    """A service that is full at the second time has not changed its answer."""
    monitor, statuses = Monitor(share=1.0), iter([200, status])

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": next(statuses), "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    watched = MonitorMiddleware(app, monitor=monitor, repeat=["/"])
    assert b"fine" == _run(watched, lambda client: client.get("/")).content
    assert () == monitor.check()
    assert "dropkit_repeats_total{" not in _metrics(watched)


def test_only_what_is_timed_counts_in_the_latency() -> None:
    """Neither other paths nor requests that were refused or failed."""
    app, _ = _service(Monitor(), timed=["/answer", "/broken"])
    _run(app, lambda client: client.post("/order"))
    _run(app, lambda client: client.post("/broken"))
    assert "dropkit_request_seconds_count 0.0" in _metrics(app)
    _run(app, lambda client: client.post("/answer", json={"text": "hello"}))
    assert "dropkit_request_seconds_count 1.0" in _metrics(app)


def test_body_is_let_go_once_it_was_read() -> None:
    """A request that is not repeated lies nowhere in the middleware while it is answered."""
    frames: list[Any] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()  # and forgotten
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name != "_watched":
            frame = frame.f_back  # type: ignore[assignment]
        frames.append("body" in frame.f_locals)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for share in (0.0, 1.0):
        watched = MonitorMiddleware(app, monitor=Monitor(share=share), repeat=["/"])
        _run(watched, lambda client: client.post("/", content=b"text"))
    assert [False, True] == frames[:2]
