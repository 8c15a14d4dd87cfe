"""A probe meets any service, and any answer, with a measurement or one clear sentence."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

from dropkit.errors import DataError, OptionError, ProbeError
from dropkit.serving import probe


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says."""

    def do_POST(self) -> None:
        """Read JSON, write JSON."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/slow":
            time.sleep(0.6)
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            return
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()
        answer = {"/": json.dumps({"decision": len(str(request))}), "/text": "<html>"}
        answer["/wrong"] = json.dumps({"probabilities": [0.5, 0.9]})
        self.wfile.write(answer.get(self.path, "{}").encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_endpoint(url: str) -> None:
    """It is asked by POST, and timed; what is behind it is not known, and said to be so."""
    found = probe(f"{url}/", [{"text": "a"}, {"text": "bc"}])
    assert (2, 4, 0) == (found.requests, found.calls, found.failed)
    assert {None, False} == {one.is_present for one in found.symptoms}
    assert 0.0 < found.latency.p50_s <= found.latency.p90_s <= found.latency.greatest_s


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/broken", "{}/broken answered with status 500."),
        ("/moved", "{}/moved answered with status 307."),
        ("/text", "{}/text answered with something that is no JSON."),
        ("/slow", "{}/slow did not answer within 0.2 s."),
        (
            "/wrong",
            "`probabilities` of an answer must be at least 0 and sum to 1; got a sum of 1.4.",
        ),
        (
            "/empty",
            "an answer must have one of the keys 'decision', 'probabilities', 'embedding' and "
            "'handed_over'; got none. Pass `read` to turn it into one.",
        ),
    ],
)
def test_malformed_answers(url: str, path: str, message: str) -> None:
    """Where no answer can be read, one sentence says why."""
    with pytest.raises(ProbeError, match="^" + re.escape(message.format(url)) + "$"):
        probe(url + path, ["x"], timeout_s=0.2)


def test_nobody_there() -> None:
    """A port that nobody listens on."""
    with pytest.raises(ProbeError, match=r"^http://127\.0\.0\.1:1/ cannot be reached: .*\.$"):
        probe("http://127.0.0.1:1/", ["x"])


def test_some_answers_fail() -> None:
    """They are counted with their sentence, and the others are measured."""

    def service(text: str) -> Any:
        if text == "bad":
            raise ValueError("no such text")
        return [float("nan")] if text == "nan" else "fine"

    found = probe(service, ["a", "bad", "nan"])
    assert (2, 4) == (found.calls, found.failed)
    assert (
        "the service raised ValueError: no such text.",
        "the answer must be finite; it holds nan or an infinity.",
    ) == found.failures
    assert 0.0 == found.symptoms[3].numbers["flip_rate"]


@pytest.mark.parametrize(
    ("service", "requests", "options", "message"),
    [
        (print, [], {}, "`requests` must hold at least one request; got none."),
        (print, ["a"], {"labels": []}, "`labels` must be one for each request; got 0 for 1."),
        (print, ["a"], {"repeats": 1}, "`repeats` must be at least 2; got 1."),
        (print, ["a"], {"neighbours": 0}, "`neighbours` must be at least 1; got 0."),
        (print, ["a"], {"timeout_s": 0}, "`timeout_s` must be above 0; got 0."),
        (
            print,
            ["a"] * 9,
            {"most_calls": 10},
            "`most_calls` allows 10 calls; 9 requests would need 18. Take fewer requests, or raise "
            "it.",
        ),
        (3, ["a"], {}, "`service` must be a callable or the URL of an endpoint; got a int."),
        (
            "file:///etc/hosts",
            ["a"],
            {},
            "`service` must be an http:// or https:// URL; got 'file:///etc/hosts'.",
        ),
        (
            "http://127.0.0.1:1",
            [{1}],
            {},
            "a request to an endpoint must be JSON; one cannot be written: Object of type set is "
            "not JSON serializable.",
        ),
    ],
)
def test_bad_input(service, requests, options, message) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        probe(service, requests, **options)


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (
            lambda _: object(),
            "an answer must be a mapping, a text, or a list of numbers; got a object. Pass `read` "
            "to turn it into one.",
        ),
        (
            lambda _: torch.ones(2, 3),
            "the answer must be one row of numbers for one request; got shape (2, 3).",
        ),
        (lambda _: ["a"], "the answer must be numbers; one is not."),
        (lambda _: {"decision": ["a"]}, "the decision of an answer must be plain; got a list."),
    ],
)
def test_unreadable_answers(service: Callable[[Any], Any], message: str) -> None:
    """One sentence says what is wrong with an answer."""
    with pytest.raises(ProbeError, match="^" + re.escape(message) + "$"):
        probe(service, ["x"])


def test_labels_of_no_class() -> None:
    """They are compared with the service's own."""
    message = "`labels` must be of the service's classes ('no', 'yes'); got 'maybe'."
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        probe(lambda _: {"probabilities": {"yes": 0.5, "no": 0.5}}, [0], labels=["maybe"])
