"""The example service: the same answer every time, a person where it is unsure, and no crash."""

import asyncio
import importlib.util
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

import dropkit
from dropkit.demo.router import Router, Vocabulary
from dropkit.serving import Baseline, Monitor
from dropkit.uncertainty import Handoff

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "service"
TEXTS = ["who wrote hamlet?", "what is two and two?", "are you a robot?", "tell me a joke"]
JSON = {"headers": {"content-type": "application/json"}}
TOPICS = ["literature", "numbers", "ai"]


@pytest.fixture(scope="module")
def example() -> Iterator[tuple[Any, Any]]:
    """Its two modules, as the command imports them."""
    sys.path.insert(0, str(FOLDER))
    try:
        modules = []
        for name in ("router", "app"):
            spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            modules.append(module)
        yield modules[0], modules[1]
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("router", "app"):
            sys.modules.pop(name, None)


def _service(example: tuple[Any, Any], *, threshold: float = 0.0, samples: int = 4) -> Any:
    model = Router(len(Vocabulary(TEXTS)), len(TOPICS))
    dropkit.set_rates(model, 0.3)
    handoff = Handoff(threshold, 0.1, 0.1, 100, 50, 1, 0.01)
    return example[0].Service(model.eval(), TEXTS, TOPICS, handoff, samples=samples)


def _run(app: Any, talk: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def inside() -> Any:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await talk(client)

    return asyncio.run(inside())


@pytest.mark.parametrize("samples", [0, 4])
def test_same_text_same_answer(example: tuple[Any, Any], samples: int) -> None:
    """To the bit, sub-networks or not, and whatever was asked in between."""
    service = _service(example, samples=samples)
    first = service.answer("Who wrote Faust?")
    torch.manual_seed(3)
    service.answer("what else?")
    assert first == service.answer("Who wrote Faust?")
    assert first.topic in TOPICS
    assert 0.0 <= first.disagreement <= 1.0


def test_saved_service_answers_alike(example: tuple[Any, Any], tmp_path: Path) -> None:
    """Weights, words and hand-over come back."""
    service = _service(example)
    service.save(tmp_path / "router")
    again = example[0].Service.load(tmp_path / "router", samples=4)
    assert service.answer("who is hamlet?") == again.answer("who is hamlet?")
    assert again.handoff == service.handoff


def test_unsure_answer_goes_to_a_person(example: tuple[Any, Any]) -> None:
    """Below the threshold."""
    assert not _service(example, threshold=0.0).answer("hello").handed_over
    assert _service(example, threshold=1.1).answer("hello").handed_over


@pytest.mark.parametrize("samples", [0, 4])
def test_model_that_says_nan_hands_over(example: tuple[Any, Any], samples: int) -> None:
    """With sub-networks and without; the client gets an answer, and the next request too."""
    service, monitor = _service(example, samples=samples), Monitor()
    with torch.no_grad():
        for weight in (*service.served.parameters(), *service.model.parameters()):
            weight.fill_(float("nan"))
    app = example[1].make_app(service, monitor)
    for _ in range(2):
        response = _run(app, lambda client: client.post("/answer", json={"text": "hello"}))
        assert 200 == response.status_code
        assert {
            "topic": None,
            "confidence": None,
            "disagreement": None,
            "handed_over": True,
        } == response.json()
    said = monitor.metrics().decode()
    assert "dropkit_handed_over_sum 2.0" in said
    assert "dropkit_disagreement_count 0.0" in said


def test_what_was_answered_is_recorded(example: tuple[Any, Any], tmp_path: Path) -> None:
    """At the end of its life the service keeps its counts, as the baseline of a release."""
    monitor = Monitor()
    app = example[1].make_app(_service(example), monitor, record=tmp_path / "baseline.json")

    async def live() -> None:
        async with app.router.lifespan_context(app):
            monitor.observe(latency_s=0.1)

    asyncio.run(live())
    assert monitor.record_baseline() == Baseline.load(tmp_path / "baseline.json")


def test_endpoint_answers_and_counts(example: tuple[Any, Any]) -> None:
    """An answer has its four parts; it is counted once, though it was run twice."""
    monitor = Monitor(share=1.0)
    app = example[1].make_app(_service(example), monitor)
    response = _run(app, lambda client: client.post("/answer", json={"text": " hello "}))
    assert 200 == response.status_code
    assert {"topic", "confidence", "disagreement", "handed_over"} == set(response.json())
    said = _run(app, lambda client: client.get("/metrics")).text
    assert "dropkit_disagreement_count 1.0" in said
    assert 'dropkit_repeats_total{answers="same"} 1.0' in said
    assert 200 == _run(app, lambda client: client.get("/health")).status_code


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"json": {"text": ""}}, 422, "String should have at least 1 character"),
        ({"json": {"text": "   "}}, 422, "String should have at least 1 character"),
        ({"json": {"text": "a" * 501}}, 422, "String should have at most 500 characters"),
        ({"json": {"words": "a"}}, 422, "Field required"),
        ({"json": {"text": ["a"]}}, 422, "Input should be a valid string"),
        ({"content": b"{", **JSON}, 422, "JSON decode error"),
        ({"content": b'"\xff"', **JSON}, 400, "There was an error parsing the body"),
        ({"content": b"[" * 8_000, **JSON}, 400, "There was an error parsing the body"),
        ({"content": b"x" * 20_000}, 413, "the body must have at most 16384 bytes."),
    ],
)
def test_misuse_is_refused(
    example: tuple[Any, Any], options: dict[str, Any], status: int, said: str
) -> None:
    """One clear answer, and the next question is answered as ever."""
    app = example[1].make_app(_service(example), Monitor())
    response = _run(app, lambda client: client.post("/answer", **options))
    assert status == response.status_code
    detail = response.json()["detail"]
    assert said == (detail if isinstance(detail, str) else detail[0]["msg"])
    assert 200 == _run(app, lambda c: c.post("/answer", json={"text": "hi"})).status_code


def test_full_service_says_when_to_come_again(
    example: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More requests than may wait are told so at once."""
    monkeypatch.setattr(example[1], "MOST_WAITING", 0)
    app = example[1].make_app(_service(example), Monitor())
    response = _run(app, lambda client: client.post("/answer", json={"text": "hi"}))
    assert (503, "1") == (response.status_code, response.headers["retry-after"])
    assert {"detail": "too many requests wait; try again."} == response.json()
