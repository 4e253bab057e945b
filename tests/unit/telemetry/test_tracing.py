"""Contexts are W3C's, what is not traced stays so, and spans that nobody takes cost a counter."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.telemetry import otlp
from gateway.telemetry.otlp import OtlpTracer, Outbox
from gateway.telemetry.tracing import Kind, current, exemplar, parse, within

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = f"00-{TRACE}-{SPAN}-01"


class Exporter(SpanExporter):
    """Takes spans, or not, once it is let."""

    def __init__(self) -> None:
        self.taken: list[ReadableSpan] = []
        self.result: SpanExportResult | None = SpanExportResult.SUCCESS
        self.go = threading.Event()
        self.go.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.go.wait()
        if self.result is None:
            raise OSError("gone")
        self.taken += spans
        return self.result

    def shutdown(self) -> None:
        self.go.set()


class Sent:
    def __init__(self) -> None:
        self.exporter = Exporter()
        self.counted: Counter[str] = Counter()
        self.outbox = Outbox(self.exporter, lambda result, spans: self.counted.update({result: spans}))
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(self.outbox)

    def end(self, number: int) -> None:
        for _ in range(number):
            self._provider.get_tracer("test").start_span("work").end()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (SENT, (TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", (TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-03", (TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01-more", (TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (SENT.upper(), None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_its_specification_says(header: str, expected: object) -> None:
    assert parse(header) == expected


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    assert exemplar(header) is None or parse(header)


async def test_a_span_is_below_the_first_context_and_linked_to_the_others() -> None:
    tracer = OtlpTracer("http://127.0.0.1:1", sample=1.0, version="1", counted=lambda *_: None)
    span = tracer.begin("work", Kind.CLIENT, [SENT, f"00-{SPAN * 2}-{SPAN}-01", "garbage"])
    found = parse(span.context)
    assert found is not None
    assert found[0] == TRACE
    with within(span):
        assert current.get() == span.context
    assert current.get() == ""
    await tracer.close()


async def test_what_is_not_sampled_has_an_empty_context() -> None:
    tracer = OtlpTracer("http://127.0.0.1:1/", sample=1e-9, version="1", counted=lambda *_: None)
    assert tracer.begin("work", Kind.SERVER).context == ""
    assert tracer.begin("work", Kind.SERVER, [f"00-{TRACE}-{SPAN}-00"]).context == ""
    assert tracer.begin("work", Kind.SERVER, [SENT]).context.startswith(f"00-{TRACE}-")
    await tracer.close()


async def test_spans_beyond_the_bound_are_left_out_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MOST_WAITING", 20)
    monkeypatch.setattr(otlp, "MOST_AT_ONCE", 10)
    sent = Sent()
    sent.exporter.go.clear()
    sent.end(1000)
    waiting = 1000 - sent.counted["dropped"]
    assert 20 <= waiting <= 30
    sent.exporter.go.set()
    await sent.outbox.close(5)
    assert sent.counted == {"dropped": 1000 - waiting, "exported": waiting}


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None])
async def test_what_cannot_be_sent_is_counted_and_gone(result: SpanExportResult | None) -> None:
    sent = Sent()
    sent.exporter.result = result
    sent.end(5)
    await sent.outbox.close(5)
    assert sent.counted == {"failed": 5}
    sent.end(5)  # after its end nothing is kept
    assert sent.counted == {"failed": 5}


async def test_a_collector_that_hangs_does_not_keep_the_process_from_stopping() -> None:
    sent = Sent()
    sent.exporter.go.clear()
    sent.end(5)
    async with asyncio.timeout(5):
        await sent.outbox.close(0.05)
    assert sent.counted == {}
