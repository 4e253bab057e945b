"""Events are told to whoever asks `kubectl describe`, cost nobody any waiting, and are bounded."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaos.rig.waiting import eventually
from gateway.errors import KubeAlreadyExists, KubeError, KubeForbidden, KubeThrottled, KubeUnavailable
from gateway.kube import events
from gateway.kube.connection import Call
from gateway.kube.events import MOST_WAITING, REST, Events
from gateway.model import Happening, RequestRef

REF = RequestRef("prod", "rr-a-1234567890-1")
AT = "2026-01-31T09:00:00.123456789Z"


class Api:
    """Takes calls and answers each with what the test wants."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: KubeError | None = None
        self.silent = False

    async def call(self, call: Call, *, timeout: float | None = None) -> bytes:
        self.calls.append(call)
        if self.silent:
            await asyncio.Event().wait()
        if self.answer is not None:
            raise self.answer
        return b"{}"


class Written:
    def __init__(self) -> None:
        self.api = Api()
        self.counted: Counter[str] = Counter()
        self.now = 1000.0
        self.events = Events(
            self.api,
            stamp=lambda: AT,
            clock=lambda: self.now,
            counted=lambda result: self.counted.update([result]),
        )

    def announce(self, message: str = "m", ref: RequestRef = REF) -> None:
        self.events.announce(ref, "uid-1", Happening.CREATED, message)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(call.body or b"") for call in self.api.calls]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.events.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, holds: Callable[[], bool]) -> None:
        await eventually(holds, "it to be so", every=0.002)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setattr(events, "PACE", 0.0)
    return Written()


async def test_what_is_announced_is_written_about_the_request(written: Written) -> None:
    async with written.running():
        written.announce("opened")
        await written.until(lambda: written.counted["written"] == 1)
    (call,), (body,) = written.api.calls, written.bodies
    assert call.path == "/api/v1/namespaces/prod/events"
    assert call.optional
    about = {"namespace": "prod", "name": REF.name, "uid": "uid-1", "kind": "RemediationRequest"}
    assert about.items() <= body["involvedObject"].items()
    assert (body["reason"], body["type"], body["message"]) == ("Created", "Normal", "opened")
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-01-31T09:00:00Z"


async def test_the_same_said_twice_is_one_event(written: Written) -> None:
    async with written.running():
        for message in ("opened", "opened", "closed"):
            written.announce(message)
        await written.until(lambda: written.counted["written"] == 3)
        first, second, third = (body["metadata"]["name"] for body in written.bodies)
        assert first == second != third
        written.api.answer = KubeAlreadyExists("there", status=409)
        written.announce("opened")
        await written.until(lambda: written.counted["written"] == 4)
    assert set(written.counted) == {"written"}


async def test_no_more_than_so_many_wait_and_announcing_never_does(written: Written) -> None:
    written.api.silent = True
    async with written.running():
        for number in range(MOST_WAITING + 50):
            written.announce(str(number))
        await written.until(lambda: len(written.api.calls) == 1)
    assert written.counted == {"dropped": 50}


async def test_without_the_permission_they_rest_and_are_tried_again_later(written: Written) -> None:
    written.api.answer = KubeForbidden("no", status=403)
    async with written.running():
        for _ in range(3):
            written.announce()
        await written.until(lambda: written.counted["forbidden"] == 3)
        for _ in range(100):
            written.announce()
        assert written.counted == {"forbidden": 103}
        assert len(written.api.calls) == 1
        written.now += REST
        written.api.answer = None
        written.announce()
        await written.until(lambda: written.counted["written"] == 1)


@pytest.mark.parametrize(
    "error",
    [KubeUnavailable("gone"), KubeThrottled("slow", status=429), KubeForbidden("who?", status=401)],
)
async def test_one_that_fails_is_not_tried_again(written: Written, error: KubeError) -> None:
    written.api.answer = error
    async with written.running():
        written.announce()
        await written.until(lambda: written.counted["failed"] == 1)
        written.api.answer = None
        written.announce()
        await written.until(lambda: written.counted["written"] == 1)
    assert len(written.api.calls) == 2


async def test_a_long_message_is_cut_to_what_is_taken(written: Written) -> None:
    async with written.running():
        written.announce("ä" * 5000)
        await written.until(lambda: written.counted["written"] == 1)
    assert len(written.bodies[0]["message"].encode()) == 1024
