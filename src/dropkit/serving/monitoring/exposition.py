"""The counts as Prometheus reads them."""

from typing import Any

from dropkit.errors import MissingExtraError
from dropkit.serving.monitoring.counts import EDGES


class Exposition:
    """The metrics, in a registry of their own, so that a process may hold several monitors."""

    def __init__(self) -> None:
        try:
            import prometheus_client as client  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "a monitor needs prometheus-client: pip install 'dropkit[serving]'."
            ) from error
        self._client, self._registry = client, client.CollectorRegistry()
        to = self._registry
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
        self.drift = client.Gauge(
            "dropkit_drift", "Population stability index against the release.", ["of"], registry=to
        )
        self.alarm = client.Gauge("dropkit_alarm", "1 while it rings.", ["of"], registry=to)

    def observe(self, of: str, value: float) -> None:
        """Count one value of a quantity."""
        self._histograms[of].observe(value)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return bytes(self._client.generate_latest(self._registry))
