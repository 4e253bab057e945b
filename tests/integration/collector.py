"""A collector of traces for tests: takes OTLP over HTTP and keeps the spans that came."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Span:
    """A span as it came, its ids in hex."""

    name: str
    kind: int
    """As in OTLP: 1 internal, 2 server, 3 client."""
    trace: str
    id: str
    parent: str
    """Empty where it has none."""
    links: tuple[tuple[str, str], ...]
    """Trace and span."""
    attributes: dict[str, Any]
    failed: bool
    service: str
    began: int
    ended: int


class Collector:
    """Listens on a free port of loopback until it is stopped."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector._spans += _spans(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self, name: str = "", *, trace: str = "") -> list[Span]:
        """Those that came, of this name and trace where one is given, in the order of their beginnings."""
        found = [span for span in self._spans if (not name or span.name == name)]
        return sorted(
            (span for span in found if not trace or span.trace == trace), key=lambda span: span.began
        )


def _spans(request: Any) -> Iterator[Span]:
    for resource in request.resource_spans:
        about = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    attributes={
                        one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes
                    },
                    failed=span.status.code == 2,
                    service=about["service.name"],
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                )
