"""The counts as Prometheus reads them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from dropkit.errors import MissingExtraError
from dropkit.serving.monitoring._counts import EDGES
from dropkit.serving.monitoring._endpoint import Endpoint


class Exposition:
    """The metrics, in a registry of their own, so that a process may hold several monitors.

    Args:
        look: Called before the metrics are read, by whomever.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        try:
            import prometheus_client as client  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "a monitor needs prometheus-client: pip install 'dropkit[serving]'."
            ) from error
        self._client, self._registry = client, client.CollectorRegistry()
        to = self._registry
        to.register(_Look(look))  # the first of the collectors
        self._histograms: dict[str, Any] = {
            "latency_s": client.Histogram(
                "dropkit_request_seconds",
                "From request to the end of the answer.",
                buckets=EDGES["latency_s"],
                registry=to,
            ),
            "disagreement": client.Histogram(
                "dropkit_disagreement",
                "Of the sub-networks, in [0, 1].",
                buckets=EDGES["disagreement"],
                registry=to,
            ),
            "handed_over": client.Histogram(
                "dropkit_handed_over", "1 where a person was asked.", buckets=(0.5,), registry=to
            ),
        }
        self.requests = client.Counter("dropkit_requests", "Responses.", ["status"], registry=to)
        self.repeats = client.Counter(
            "dropkit_repeats", "Requests that were answered twice.", ["answers"], registry=to
        )
        self.not_finite = client.Counter(
            "dropkit_not_finite",
            "Values that were nan or infinite, and are in no histogram.",
            ["of"],
            registry=to,
        )
        self.drift = client.Gauge(
            "dropkit_drift", "Population stability index against the release.", ["of"], registry=to
        )
        self.alarm = client.Gauge("dropkit_alarm", "1 while it rings.", ["of"], registry=to)

    def observe(self, of: str, value: float) -> None:
        """Count one value of a quantity; one that is not finite would spoil the sum for good."""
        if math.isfinite(value):
            self._histograms[of].observe(value)
        else:
            self.not_finite.labels(of).inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return bytes(self._client.generate_latest(self._registry))

    def serve(self, port: int, address: str) -> Endpoint:
        """Answer with it on a port."""
        return Endpoint(*self._client.start_http_server(port, address, self._registry))


class _Look:
    """What Prometheus calls a collector, with no metrics of its own."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look

    def collect(self) -> Iterable[Any]:
        self._look()
        return ()
