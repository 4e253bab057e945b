"""The one path of every request, on every listener.

    request id → route and method → declared size → authentication → handler → answer, counted and timed

The steps are plain calls in one function rather than a chain of middlewares: what happens to a request, and
in which order, can be read from top to bottom, and a webhook does not pay for a coroutine a step. No handler
is reached around it, and no error leaves it but as a problem.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from itertools import count
from typing import Final

import structlog
from aiohttp import web

from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tallies import Tally
from gateway.telemetry.tracing import Tracer, exemplar
from gateway.web import problems
from gateway.web.answers import Answer, HttpDate
from gateway.web.auth.guard import Door
from gateway.web.body import BodyReader
from gateway.web.deadlines import Deadlines
from gateway.web.flowing import Flowing
from gateway.web.problems import Problem, Reason, try_again
from gateway.web.recording import Recorder
from gateway.web.routes import Call, Reply, Route, Routes
from gateway.web.tracing import Served

log = structlog.get_logger(__name__)

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with a metric label of their own; all others share one."""
UNKNOWN: Final = "unknown"
"""The metric label of whatever has no route."""
CLIENT_GONE: Final = 499

_SANE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class Shell:
    """Serves requests: call it with one, it returns the answer."""

    def __init__(
        self,
        routes: Routes,
        *,
        metrics: Metrics,
        door: Door,
        body: BodyReader,
        request_timeout: float,
        clock: Callable[[], float],
        recorder: Recorder | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`clock` is monotonic with a fine resolution, and the recorder's, too; `request_timeout` in seconds; `tracer`
        sees all but what is public. Needs a running loop.
        """
        self._routes = routes
        self._metrics = metrics
        self._door = door
        self._body = body
        self._deadlines = Deadlines(request_timeout, asyncio.get_running_loop())
        self._clock = clock
        self._recorder = recorder
        self._tracer = tracer
        self._date = HttpDate()
        self._counters: dict[tuple[str, str, int], Tally] = {}
        self._ids = count(1)
        self._id_prefix = secrets.token_hex(4)
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.stopping = False
        """From now on only public routes are served, and each answer ends its connection."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        began = self._clock()
        request_id = request.headers.get("X-Request-Id")
        if request_id is None or _SANE_ID.fullmatch(request_id) is None:
            request_id = self._new_id()
        logs.request_id.set(request_id)
        route, parameter = self._routes.find(request)
        label = route.path if route is not None else UNKNOWN
        method = request.method
        call = Call(request, request_id, parameter)
        status = CLIENT_GONE
        served: Served | None = None
        if self._tracer is not None and route is not None and not route.public:
            served = Served(self._tracer, request, label, request_id)
        self._under_way += 1
        try:
            reply = await self._serve(call, route)
            status = reply.status
            headers = self._headers(reply.content_type, request_id)
            if reply.headers:
                headers.update(reply.headers)
            if reply.pieces is not None:
                return Flowing(headers, reply.pieces, still=lambda: self._door.identify(request))
            return Answer(status, reply.body, headers, close=self.stopping)
        except Exception as error:  # noqa: BLE001 - every error becomes a problem
            if request.transport is None:
                return web.Response(status=CLIENT_GONE)  # goes nowhere
            problem = problems.of(error)
            status = problem.status
            self._note(problem, error, label)
            return self._refusal(request_id, problem)
        finally:
            if call.held:
                self._body.release(call)
            self._under_way -= 1
            if not self._under_way and self.stopping:
                self._quiet.set()
            self._counter(label, method, status).inc()
            shown = None if served is None else exemplar(served.context)
            self._metrics.request_duration[label].observe(self._clock() - began, shown)
            if served is not None:
                served.end(status)
            if self._recorder is not None and call.body is not None:
                self._recorder.offer(call, status, began)

    async def _serve(self, call: Call, route: Route | None) -> Reply:
        request = call.request
        if route is None:
            raise Problem(404, Reason.NOT_FOUND, "there is nothing under this path")
        handler = route.handlers.get(request.method)
        if handler is None:
            detail = f"this path takes {route.allow}"
            raise Problem(405, Reason.METHOD, detail, headers={"Allow": route.allow})
        with self._deadlines.limit():
            if not route.public:
                if self.stopping:
                    raise try_again(Reason.STOPPING, "the gateway is stopping")
                self._body.check_length(request)
                call.identity = (await self._door.identify(request)).name
            return await handler(call)

    async def drain(self, grace: float) -> bool:
        """Refuse what is new, and wait until nothing is under way; False where `grace` seconds were too few."""
        self.stopping = True
        if self._under_way:
            self._quiet.clear()
            try:
                async with asyncio.timeout(grace):
                    await self._quiet.wait()
            except TimeoutError:
                log.warning("requests under way at the end of the time to stop", requests=self._under_way)
                return False
        return True

    def close(self) -> None:
        """Leave no timer behind."""
        self._deadlines.close()
        self._door.close()

    def turn_away(self, problem: Problem) -> Answer:
        """The answer to what never becomes a request: the server's parser refuses it, or its connection has to go."""
        self._metrics.errors[problem.reason.value].inc()
        self._counter(UNKNOWN, UNKNOWN, problem.status).inc()
        return self._refusal(self._new_id(), problem)

    def _new_id(self) -> str:
        return f"{self._id_prefix}-{next(self._ids):08x}"

    def _refusal(self, request_id: str, problem: Problem) -> Answer:
        body = problem.body(request_id)
        headers = {**self._headers(problems.CONTENT_TYPE, request_id), **problem.headers}
        return Answer(problem.status, body, headers, close=problem.close or self.stopping)

    def _headers(self, content_type: str, request_id: str) -> dict[str, str]:
        return {"Content-Type": content_type, "X-Request-Id": request_id, "Date": self._date()}

    def _note(self, problem: Problem, error: Exception, label: str) -> None:
        self._metrics.errors[problem.reason.value].inc()
        if problem.status == 500:
            log.error("request failed", route=label, exc_info=error)
            return
        facts = {"route": label, "status": problem.status, "reason": problem.reason.value}
        if problem.reason is Reason.NOT_READY:
            log.debug("not ready", **facts)  # probes ask every few seconds
        elif problem.status == 503:
            log.warning("request refused", **facts, detail=str(error))  # the whole of it, for the operator
        else:
            log.info("request refused", **facts, detail=problem.detail)

    def _counter(self, label: str, method: str, status: int) -> Tally:
        key = (label, method, status)
        found = self._counters.get(key)
        if found is None:
            known = method if method in METHODS else UNKNOWN
            found = self._metrics.requests[label, known, str(status)]
            if known == method:
                self._counters[key] = found
        return found
