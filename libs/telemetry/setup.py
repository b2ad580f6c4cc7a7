"""Start of telemetry in a process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from libs.server.config.server_config import Settings, setting
from libs.telemetry import logs, metrics, trace


@dataclass(frozen=True, kw_only=True, repr=False)
class TelemetryConfig(Settings):
    """What every service reads about telemetry. OTEL_EXPORTER_OTLP_ENDPOINT and its kin are OpenTelemetry's own."""

    trace_ratio: float = setting("TRACE_RATIO", default=0.01, shared=True, low=0, high=1, example="0.01")
    """Share of new traces that are sampled at their head."""

    slow_millis: int = setting("SLOW_MILLIS", default=1000, shared=True, low=1, high=3_600_000, example="1000")
    """From this duration on, the spans of an unsampled batch are exported afterwards all the same."""

    trace_days: int = setting("TRACE_DAYS", default=7, shared=True, low=1, high=366, example="7")
    """Days for which each service keeps spans in its own store, for `luxor trace`."""

    log_level: str = setting(
        "LOG_LEVEL", default="info", shared=True, choices=("debug", "info", "warning", "error"), example="info"
    )
    """Lowest level that is logged."""


class Telemetry:
    """What `setup` started; `serve_metrics` and `close` belong to the server's life."""

    def __init__(self, close_traces: Callable[[float], None] | None) -> None:
        """Keep what flushes the spans."""
        self._close_traces = close_traces
        self._endpoint: metrics.Endpoint | None = None

    def serve_metrics(self, host: str, port: int) -> int:
        """Serve the metrics over HTTP and return the port; raise OSError where it is taken."""
        self._endpoint = metrics.Endpoint(host, port)
        return self._endpoint.port

    def close(self, flush_seconds: float = 2.0) -> None:
        """Flush spans and logs and stop serving metrics; blocks up to `flush_seconds` where a collector is slow."""
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

    Spans are exported only where OTEL_EXPORTER_OTLP_ENDPOINT is set, in the background, and dropped where the collector
    is dead.
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
