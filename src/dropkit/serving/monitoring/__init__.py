"""What a model does in service, as Prometheus counts it; no request's text is kept."""
