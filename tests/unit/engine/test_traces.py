"""What is written for several webhooks belongs to the traces of all of them, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from gateway.engine import traces
from gateway.engine.deliveries import Delivery, Unit
from gateway.engine.traces import Traces
from gateway.model import Signal
from gateway.telemetry.tracing import Attributes, Kind, Span, current
from tests.unit.kube.test_objects import signal


class Begun:
    """A span that remembers what was said of it."""

    def __init__(self, name: str, contexts: Sequence[str]) -> None:
        self.name = name
        self.contexts = list(contexts)
        self.context = f"in {name}"
        self.failure = ""
        self.ended = False

    def set(self, attributes: Attributes) -> None: ...

    def fail(self, why: str) -> None:
        self.failure = why

    def end(self) -> None:
        self.ended = True


class Recorder:
    """A tracer that keeps what was begun."""

    def __init__(self) -> None:
        self.begun: list[Begun] = []

    def begin(
        self,
        name: str,
        kind: Kind,
        contexts: Sequence[str] = (),
        attributes: Attributes | None = None,
        *,
        ago: float = 0.0,
    ) -> Span:
        self.begun.append(Begun(name, contexts))
        return self.begun[-1]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class Read(msgspec.Struct):
    """As much of a reading as counts here."""

    fingerprint: str
    resolved: bool = False


async def unit(fingerprint: str, *contexts: str, resolved: bool = False) -> Unit:
    reading = Read(fingerprint, resolved)
    made = Unit(fingerprint, (fingerprint, "", resolved), reading, 0, limited=False)
    made.members = [(Delivery([], b"", context), 0) for context in contexts]
    return made


def made(context: str) -> Signal:
    return msgspec.structs.replace(signal(), traceparent=context)


async def test_a_call_for_several_webhooks_is_below_one_and_linked_to_the_others(recorder: Recorder) -> None:
    units = [await unit("a", "t1", "t2"), await unit("b", "t2", "t3"), await unit("c", "")]
    with Traces(recorder).admitting(0, units):
        assert current.get() == "in redis admit"
    (call,) = recorder.begun
    assert call.contexts == ["t1", "t2", "t3"]
    assert call.ended
    assert current.get() == ""


async def test_a_write_is_for_all_that_was_admitted_since_the_last_one(recorder: Recorder) -> None:
    told = Traces(recorder)
    for context in ("t1", "t2", "t1"):
        with told.admitting(0, [await unit("a", context), await unit("gone", context, resolved=True)]):
            pass
    with told.writing("write request", [("a", None)]):
        told.called("create", 201, 0.01, "")
    with told.writing("write request", [("a", None), ("gone", None)]):
        told.called("create", 201, 0.01, "")
    write, call = recorder.begun[3:]
    assert write.contexts == ["t1", "t2"]
    assert call.contexts == ["in write request"]


async def test_a_write_that_fails_is_told_again_with_the_next(recorder: Recorder) -> None:
    told = Traces(recorder)
    with told.admitting(0, [await unit("a", "t1")]):
        pass
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError), told.writing("write request", [("a", None)]):
            raise asyncio.CancelledError
    with told.writing("write request", [("a", None)]):
        pass
    failed, again, written = recorder.begun[1:]
    assert failed.contexts == again.contexts == written.contexts == ["t1"]
    assert failed.failure
    assert not written.failure


async def test_what_another_replica_admitted_has_the_trace_of_its_payload(recorder: Recorder) -> None:
    told = Traces(recorder)
    assert told.marked(signal(), await unit("a", "t1", "t2")).traceparent == "t1"
    assert told.marked(signal(), await unit("a", "")) == signal()
    with told.writing("write storm", [("a", lambda: made("t1")), ("b", lambda: made("t2")), ("c", signal)]):
        pass
    (write,) = recorder.begun
    assert write.contexts == ["t1", "t2"]


async def test_without_a_trace_there_is_no_span(recorder: Recorder) -> None:
    told = Traces(recorder)
    with told.accepting(3), told.admitting(0, [await unit("a", "")]):
        pass
    with told.writing("write request", [("a", signal)]):
        told.called("create", 201, 0.01, "")
    assert recorder.begun == []


async def test_what_is_remembered_is_bounded(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_REMEMBERED", 10)
    told = Traces(recorder)
    for number in range(20):
        with told.admitting(0, [await unit(f"f{number}", *(f"t{n}" for n in range(100)))]):
            pass
    recorder.begun.clear()
    for number in range(20):
        with told.writing("write request", [(f"f{number}", None)]):
            pass
    assert [len(write.contexts) for write in recorder.begun] == [traces.MOST_OF_ONE] * 10
