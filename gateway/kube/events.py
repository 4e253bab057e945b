"""Events (core v1) about requests, so that `kubectl describe rr` tells what became of one and when.

Nobody waits for them and nothing depends on them. They are written one after the other, at most `1 / PACE` a second, by
a task of their own; what comes while `MOST_WAITING` wait already is left out and counted. No failure of theirs is told
to the breaker or tried again. Where the account may not create them, that is logged once and they rest for a while.

An event's name is made of the request's uid and of what happened, so that two replicas that say the same, or one that
says it again, make one event.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
import structlog

from gateway.errors import KubeAlreadyExists, KubeError, KubeForbidden
from gateway.kube import objects
from gateway.kube.connection import Call
from gateway.kube.observing import Verb
from gateway.model import API_GROUP, API_VERSION, KIND, Happening, RequestRef

log = structlog.get_logger(__name__)

PACE: Final = 0.1
"""Seconds from one event to the next: beside 32 writes at once they are nothing for the API server."""
MOST_WAITING: Final = 200
ANSWER: Final = 5.0
"""Seconds for one call."""
REST: Final = 600.0
"""Seconds without events after one was refused for lack of a permission."""
LONGEST: Final = 1024
"""Bytes of a message that the API server takes."""


class _Event(msgspec.Struct, frozen=True):
    ref: RequestRef
    uid: str
    happening: Happening
    message: str
    at: str
    """RFC 3339."""


class Caller(Protocol):
    """Sends calls to the Kubernetes API: a `Connection`."""

    async def call(self, call: Call, *, timeout: float | None = None) -> bytes:
        """The body of the answer. Raises `KubeError`."""


class Events:
    """Writes what is announced."""

    def __init__(
        self,
        connection: Caller,
        *,
        stamp: Callable[[], str],
        clock: Callable[[], float],
        counted: Callable[[str], None],
    ) -> None:
        """`stamp` is the time of day, `clock` monotonic, in seconds; `counted` hears of each event how it ended:
        `written`, `dropped` (too many wait), `forbidden` or `failed`.
        """
        self._connection = connection
        self._stamp = stamp
        self._clock = clock
        self._counted = counted
        self._waiting: deque[_Event] = deque()
        self._wake = asyncio.Event()
        self._resting_until = 0.0
        self._instance = socket.gethostname()

    def announce(self, ref: RequestRef, uid: str, happening: Happening, message: str) -> None:
        """Say that something happened to a request. Never waits, never raises."""
        if self._clock() < self._resting_until:
            self._counted("forbidden")
        elif len(self._waiting) >= MOST_WAITING:
            self._counted("dropped")
        else:
            self._waiting.append(_Event(ref, uid, happening, message, self._stamp()))
            self._wake.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._wake.wait()
            while self._waiting:
                self._counted(await self._write(self._waiting.popleft()))
                await asyncio.sleep(PACE)
            self._wake.clear()

    async def _write(self, event: _Event) -> str:
        path = f"/api/v1/namespaces/{quote(event.ref.namespace, safe='')}/events"
        params = {"fieldManager": objects.FIELD_MANAGER}
        body = msgspec.json.encode(self._object(event))
        call = Call(Verb.EVENT, "POST", path, params, body, optional=True)
        try:
            await self._connection.call(call, timeout=ANSWER)
        except KubeAlreadyExists:
            return "written"
        except KubeForbidden as error:
            if error.status != 403:  # credentials, which are loaded again
                return "failed"
            log.info("events may not be written, and are left out for now", error=str(error), rest=REST)
            self._resting_until = self._clock() + REST
            while self._waiting:
                self._waiting.pop()
                self._counted("forbidden")
            return "forbidden"
        except KubeError as error:
            log.debug("event could not be written", request=str(event.ref), error=str(error))
            return "failed"
        return "written"

    def _object(self, event: _Event) -> dict[str, object]:
        said = f"{event.uid} {event.happening} {event.message}".encode()
        at = f"{event.at[:19]}Z"  # seconds, as events have them
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{event.ref.name}.{hashlib.sha256(said).hexdigest()[:16]}",
                "namespace": event.ref.namespace,
            },
            "involvedObject": {
                "apiVersion": f"{API_GROUP}/{API_VERSION}",
                "kind": KIND,
                "namespace": event.ref.namespace,
                "name": event.ref.name,
                "uid": event.uid,
            },
            "type": "Normal",
            "reason": event.happening.value,
            "message": event.message.encode()[:LONGEST].decode("utf-8", "ignore"),
            "source": {"component": objects.FIELD_MANAGER, "host": self._instance},
            "reportingComponent": objects.FIELD_MANAGER,
            "reportingInstance": self._instance,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
