"""What a model does in service, as Prometheus counts it; no request's text is kept."""

from dropkit.serving.monitoring._baseline import Baseline
from dropkit.serving.monitoring._counts import Drift
from dropkit.serving.monitoring._endpoint import Endpoint
from dropkit.serving.monitoring._middleware import MonitorMiddleware
from dropkit.serving.monitoring._monitor import Alarm, Monitor

__all__ = ["Alarm", "Baseline", "Drift", "Endpoint", "Monitor", "MonitorMiddleware"]
