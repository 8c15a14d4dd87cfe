"""A service that says how sure it is, hands over to a person, and is watched.

Trains the router of ``dropkit demo`` (half a minute, once), then answers on
http://127.0.0.1:8000:

    pip install 'dropkit[demo,serving]'
    python examples/service/app.py --folder router/

    curl -s 127.0.0.1:8000/answer -d '{"text": "who wrote hamlet?"}' -H 'content-type: application/json'
    curl -s 127.0.0.1:8000/metrics

It listens on the loopback interface only, unless ``--host`` says otherwise.
"""

import argparse
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, StringConstraints
from router import Answer, Service, train

from dropkit.serving import Monitor, MonitorMiddleware

#: Characters of a text, and bytes of a request.
LONGEST_TEXT, LARGEST_REQUEST = 500, 16_384
#: Requests that may wait; more are told to come again.
MOST_WAITING = 32


class Request(BaseModel):
    """What a user sends."""

    text: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_TEXT)
    ]


def make_app(service: Service, monitor: Monitor, *, record: Path | None = None) -> FastAPI:
    """The application: ``POST /answer``, ``GET /health``, ``GET /metrics``.

    Where it is to be recorded, what was answered is kept as the baseline of a release at the end.
    """

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        if record is not None:
            monitor.record_baseline().save(record)

    app = FastAPI(title="dropkit example service", lifespan=life)
    places = threading.BoundedSemaphore(MOST_WAITING)

    @contextlib.contextmanager
    def a_place() -> Iterator[None]:
        if not places.acquire(blocking=False):
            raise HTTPException(503, "too many requests wait; try again.", {"retry-after": "1"})
        try:
            yield
        finally:
            places.release()

    @app.post("/answer")
    def answer(request: Request) -> Answer:
        with a_place():
            found = service.answer(request.text)
        monitor.observe(disagreement=found.disagreement, handed_over=found.handed_over)
        return found

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    app.add_middleware(
        MonitorMiddleware,
        monitor=monitor,
        repeat=["/answer"],
        timed=["/answer"],
        max_bytes=LARGEST_REQUEST,
    )
    return app


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Answer questions, with a person behind it.")
    parser.add_argument("--folder", type=Path, default=Path("router"), help="trained or to train")
    parser.add_argument("--samples", type=int, default=16, help="sub-networks an answer")
    parser.add_argument("--repeat", type=float, default=0.01, help="share of requests run twice")
    parser.add_argument("--baseline", help="counts of the release, to watch for a drift")
    parser.add_argument("--record", type=Path, help="write such counts at the end")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    if not (given.folder / "router.json").is_file():
        train(samples=given.samples).save(given.folder)
    service = Service.load(given.folder, samples=given.samples)
    monitor = Monitor(share=given.repeat, baseline=given.baseline)
    app = make_app(service, monitor, record=given.record)
    uvicorn.run(app, host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
