"""A small OTLP receiver: a real gRPC server that keeps what it is sent, or takes it and never answers."""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass
class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    silent: bool = False
    """Take calls and never answer them."""
    requests: list[Any] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def Export(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.asked.set()
        if self.silent:
            self.ending.wait()
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resource of each request, by attribute."""
        return [attributes(each.resource) for request in self.requests for each in request.resource_spans]

    @property
    def spans(self) -> list[tuple[str, Any]]:
        """Every span, with the name of its service."""
        return [
            (attributes(each.resource)["service.name"], span)
            for request in self.requests
            for each in request.resource_spans
            for scope in each.scope_spans
            for span in scope.spans
        ]


def attributes(of: Any) -> dict[str, Any]:
    """Return attributes by name."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@contextmanager
def receiving(*, silent: bool = False) -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    kept = Receiver(silent=silent)
    with futures.ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads)
        register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        register(kept, server)
        kept.port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield kept
        finally:
            kept.ending.set()
            server.stop(0).wait()
