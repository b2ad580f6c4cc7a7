"""Start of telemetry in a process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from libs.server.config.server_config import Settings, setting
from libs.telemetry import logs, metrics, trace


@dataclass(frozen=True, kw_only=True, repr=False)
class TelemetryConfig(Settings):
    """The settings of telemetry in every service. OTEL_EXPORTER_OTLP_ENDPOINT and similar variables are OpenTelemetry's own."""

    trace_ratio: float = setting("TRACE_RATIO", default=0.01, shared=True, low=0, high=1, example="0.01")
    """Share of new traces that are sampled at their head."""

    slow_millis: int = setting("SLOW_MILLIS", default=1000, shared=True, low=1, high=3_600_000, example="1000")
    """Duration from which on the spans of an unsampled batch are exported nevertheless."""

    trace_days: int = setting("TRACE_DAYS", default=7, shared=True, low=1, high=366, example="7")
    """Days for which each service stores spans in its own database, for `luxor trace`."""

    log_level: str = setting(
        "LOG_LEVEL", default="info", shared=True, choices=("debug", "info", "warning", "error"), example="info"
    )
    """Lowest level that is logged."""


class Telemetry:
    """Handle of the telemetry that `setup` started: serves the metrics, and flushes at the end."""

    def __init__(self, close_traces: Callable[[float], None] | None) -> None:
        """Store the function that flushes the spans; None if they are not exported."""
        self._close_traces = close_traces
        self._endpoint: metrics.Endpoint | None = None

    def serve_metrics(self, host: str, port: int) -> int:
        """Serve the metrics over HTTP and return the port; raise OSError if it is taken."""
        self._endpoint = metrics.Endpoint(host, port)
        return self._endpoint.port

    def close(self, flush_seconds: float = 2.0) -> None:
        """Flush spans and logs and stop serving metrics; blocks up to `flush_seconds` if a collector is slow."""
        if self._close_traces is not None:
            trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
            self._close_traces(flush_seconds)
            self._close_traces = None
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
        logs.get_logger().flush()


def setup(service: str, environ: Mapping[str, str]) -> Telemetry:
    """Start logs, traces and metrics of a service; raise ConfigError for a wrong variable.

    Spans are exported only if OTEL_EXPORTER_OTLP_ENDPOINT is set, in the background, and dropped if the collector is
    dead.
    """
    config = TelemetryConfig.from_environ(service, environ)
    logs.install(service, config.log_level)
    export, close = None, None
    if environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        from libs.telemetry import otlp

        exporter = otlp.Exporter(service, environ)
        export, close = exporter.take, exporter.close
    trace.configure(ratio=config.trace_ratio, slow_seconds=config.slow_millis / 1000, export=export)
    return Telemetry(close)
