"""Spans by OpenTelemetry's SDK, sent to a collector by OTLP over HTTP. The one module that imports OpenTelemetry.

What has ended waits in a bounded queue for a thread that sends it. Where the queue is full, spans are left out and
counted; where the collector is gone, batches are. The SDK's own processor logs each of them; here an outage is one
line, as a collector must be able to die in a storm without anybody noticing.

What is not said here (headers, certificates, further attributes of the resource) is read from the environment variables
that OpenTelemetry defines, like `OTEL_EXPORTER_OTLP_HEADERS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from gateway.telemetry.tracing import Attributes, Kind, Span, parse

log = structlog.get_logger(__name__)

PATH: Final = "/v1/traces"
MOST_WAITING: Final = 4096
"""Spans; some 2 KiB each."""
MOST_AT_ONCE: Final = 512
INTERVAL: Final = 1.0
"""Seconds from one sending to the next."""
ANSWER: Final = 5.0
"""Seconds that the collector may take, with the exporter's own tries."""
FLUSH: Final = 1.0
"""Seconds for what waits, when the gateway stops."""
MOST_LINKS: Final = 128
"""As many as OpenTelemetry keeps unless told otherwise."""

Counted = Callable[[str, int], None]
"""Hears how many spans ended how: `exported`, `dropped` (the queue is full) or `failed`."""

_KINDS: Final = {
    Kind.SERVER: trace.SpanKind.SERVER,
    Kind.CLIENT: trace.SpanKind.CLIENT,
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
}


class OtlpTracer:
    """Begins spans that a collector gets."""

    def __init__(self, endpoint: str, *, sample: float, version: str, counted: Counted) -> None:
        """`endpoint` is the base URL, or that of traces; `sample` the share of new traces that is kept, where the
        sender of a request has not decided.
        """
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # each failed sending would be a line
        base = endpoint.rstrip("/")
        exporter = OTLPSpanExporter(base if base.endswith(PATH) else base + PATH, timeout=ANSWER)
        self._outbox = Outbox(exporter, counted)
        resource = Resource.create(
            {
                "service.name": "alert-gateway",
                "service.version": version,
                "service.instance.id": socket.gethostname(),
            }
        )
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(self._outbox)
        self._tracer = self._provider.get_tracer("gateway", version)

    def begin(
        self,
        name: str,
        kind: Kind,
        contexts: Sequence[str] = (),
        attributes: Attributes | None = None,
        *,
        ago: float = 0.0,
    ) -> Span:
        """See `gateway.telemetry.tracing.Tracer`."""
        known = [found for one in contexts[: MOST_LINKS + 1] if (found := _remote(one)) is not None]
        above = Context()
        if known:
            above = trace.set_span_in_context(trace.NonRecordingSpan(known[0]), above)
        return _OtlpSpan(
            self._tracer.start_span(
                name,
                context=above,
                kind=_KINDS[kind],
                attributes=attributes,
                links=[trace.Link(one) for one in known[1:]],
                start_time=time.time_ns() - int(ago * 1e9),
            )
        )

    async def close(self) -> None:
        """Send what waits, for `FLUSH` seconds at most."""
        await self._outbox.close(FLUSH)


class Outbox(SpanProcessor):
    """Spans that have ended, and the thread that sends them."""

    def __init__(self, exporter: SpanExporter, counted: Counted) -> None:
        self._exporter = exporter
        self._counted = counted
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._failing = False
        self._on_end: Callable[[], object] = lambda: None
        # A daemon: whatever the collector does, the process can end.
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Called by whoever ends a span; a few microseconds."""
        context = span.context
        if context is None or not context.trace_flags.sampled or self._stopping:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._counted("dropped", 1)
            return
        self._waiting.append(span)
        if len(self._waiting) == MOST_AT_ONCE:
            self._wake.set()

    async def close(self, seconds: float) -> None:
        """Take no more, send what waits, and give up after so many seconds."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._on_end = lambda: loop.call_soon_threadsafe(ended.set)
        self._stopping = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(INTERVAL)
            self._wake.clear()
            self._send()
        with contextlib.suppress(RuntimeError):  # nobody waited so long, and the loop is closed
            self._on_end()

    def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            try:
                arrived = self._exporter.export(batch) is SpanExportResult.SUCCESS
            except Exception:  # noqa: BLE001 - whatever it is, the next batch is to be tried
                arrived = False
            self._counted("exported" if arrived else "failed", len(batch))
            if arrived is self._failing:
                self._failing = not arrived
                if arrived:
                    log.info("traces are delivered again")
                else:
                    log.warning("traces cannot be delivered; they are left out until they can be")


class _OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        own = span.get_span_context()
        self.context = f"00-{own.trace_id:032x}-{own.span_id:016x}-01" if own.trace_flags.sampled else ""

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, why: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR, why)

    def end(self) -> None:
        self._span.end()


def _remote(context: str) -> trace.SpanContext | None:
    found = parse(context)
    if found is None:
        return None
    trace_id, span_id, recorded = found
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if recorded else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
