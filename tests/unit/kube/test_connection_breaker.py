"""The breaker hears how every call ended, and while it is open only what keeps the copy up to date is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.errors import KubeError, KubeNotTried
from gateway.kube.client import Cluster
from gateway.kube.connection import Call, Connection, Timeouts
from gateway.kube.observing import Verb
from gateway.resilience.breakers import Breaker, Outcome, Policy
from gateway.resilience.faults import FaultPoint

POLICY = Policy(failure_rate=0.5, window=10.0, min_calls=5, open_for=4.0, throttled=10)
OURS = "/apis/remediation.kubernaut.io/v1alpha1/namespaces/a/remediationrequests"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Told(Breaker):
    """A breaker that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__("k8s_api", POLICY, clock=Clock())
        self.told: list[Outcome] = []

    def record(self, outcome: Outcome, reason: str = "", wait: float = 0.0) -> None:
        self.told.append(outcome)
        super().record(outcome, reason, wait)


class Server:
    """Answers with the status of the path's last word, or with `status` if that is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 0
        self.message = "no"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        word = request.path.rpartition("/")[2]
        if word == "hang":
            await asyncio.sleep(30)
        status = self.status or int(word if word.isdigit() else 200)
        body = {"kind": "Status", "status": "Failure", "message": self.message, "code": status}
        return web.Response(status=status, text=json.dumps(body))


@asynccontextmanager
async def connected(
    breaker: Breaker,
    tmp_path: Path,
    *,
    faults: FaultPoint | None = None,
    call: float = 20.0,
    patience: float = 0.1,
) -> AsyncIterator[tuple[Connection, Server]]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(app) as listening:
        config = tmp_path / "config"
        config.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "clusters": [
                        {"name": "c", "cluster": {"server": str(listening.make_url("")).rstrip("/")}}
                    ],
                    "users": [{"name": "c", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                }
            )
        )
        timeouts = Timeouts(call=call, patience=patience)
        line = Connection(kubeconfig=str(config), breaker=breaker, faults=faults, timeouts=timeouts)
        await line.open()
        try:
            yield line, server
        finally:
            await line.close()


@pytest.mark.parametrize(
    ("verb", "word", "outcome"),
    [
        (Verb.CREATE, "201", Outcome.SUCCESS),
        (Verb.GET, "200", Outcome.ANSWERED),
        (Verb.CREATE, "422", Outcome.SUCCESS),
        (Verb.PATCH, "409", Outcome.SUCCESS),
        (Verb.LIST, "410", Outcome.ANSWERED),
        (Verb.CREATE, "403", Outcome.SUCCESS),
        (Verb.CREATE, "429", Outcome.THROTTLED),
        (Verb.GET, "429", Outcome.THROTTLED),
        (Verb.GET, "500", Outcome.FAILURE),
        (Verb.CREATE, "503", Outcome.FAILURE),
        (Verb.PATCH, "hang", Outcome.FAILURE),
    ],
)
async def test_each_ending_is_told_as_what_it_says_of_the_server(
    verb: Verb, word: str, outcome: Outcome, tmp_path: Path
) -> None:
    breaker = Told()
    async with connected(breaker, tmp_path, call=0.5 if word == "hang" else 20.0) as (line, _):
        try:
            await line.call(Call(verb, "POST", f"/{word}", body=b"{}"))
        except KubeError:
            assert int(word if word.isdigit() else 500) >= 400
    assert breaker.told == [outcome]


async def test_a_used_up_quota_does_not_count_as_throttled(tmp_path: Path) -> None:
    breaker = Told()
    async with connected(breaker, tmp_path) as (line, server):
        server.message = "exceeded quota: ten"
        with pytest.raises(KubeError):
            await line.call(Call(Verb.CREATE, "POST", "/403", body=b"{}"))
    assert breaker.told == [Outcome.SUCCESS]


@pytest.mark.parametrize(("patience", "told"), [(20.0, []), (0.1, [Outcome.FAILURE])])
async def test_a_call_that_is_given_up_counts_if_it_had_its_time(
    patience: float, told: list[Outcome], tmp_path: Path
) -> None:
    breaker = Told()
    async with connected(breaker, tmp_path, patience=patience) as (line, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await line.call(Call(Verb.CREATE, "POST", "/hang", body=b"{}"))
    assert breaker.told == told


async def test_while_it_is_open_nothing_is_sent_but_what_always_is(tmp_path: Path) -> None:
    breaker = Told()
    async with connected(breaker, tmp_path) as (line, server):
        for _ in range(5):
            with pytest.raises(KubeError):
                await line.call(Call(Verb.CREATE, "POST", "/503", body=b"{}"))
        assert not breaker.closed
        asked = len(server.asked)
        with pytest.raises(KubeNotTried) as error:
            await line.call(Call(Verb.CREATE, "POST", "/201", body=b"{}"))
        assert error.value.retry_after == 4.0
        assert error.value.retryable
        assert "503" in str(error.value)
        assert len(server.asked) == asked
        await line.call(Call(Verb.LIST, "GET", "/200", always=True))
        async with line.stream(Call(Verb.WATCH, "GET", "/200"), inactivity=20.0):
            pass
        assert len(server.asked) == asked + 2


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, Outcome.SUCCESS), (422, Outcome.SUCCESS), (429, Outcome.THROTTLED), (500, Outcome.FAILURE)],
)
async def test_a_probe_is_a_create_that_is_only_rehearsed_and_goes_around_the_breaker(
    status: int, outcome: Outcome, tmp_path: Path
) -> None:
    breaker = Told()
    for _ in range(5):
        breaker.record(Outcome.FAILURE)
    breaker.told.clear()
    async with connected(breaker, tmp_path) as (line, server):
        server.status = status
        finding = await Cluster(line, terminal_phases=()).probe("a")
    assert finding.outcome is outcome
    assert bool(finding.reason) == (status != 201)
    assert breaker.told == []
    (asked,) = server.asked
    assert asked.startswith(f"{OURS}?")
    assert "dryRun=All" in asked


async def test_refused_permissions_are_known_until_the_call_passes(tmp_path: Path) -> None:
    async with connected(Told(), tmp_path) as (line, server):
        server.status = 403
        with pytest.raises(KubeError):
            await line.call(Call(Verb.CREATE, "POST", OURS, body=b"{}"))
        assert line.permissions.missing() == ["create remediationrequests in namespace a"]
        server.status = 201
        await line.call(Call(Verb.CREATE, "POST", OURS, body=b"{}"))
        assert line.permissions.missing() == []
