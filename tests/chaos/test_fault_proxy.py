"""The fault proxy before a real kube-apiserver: each fault as a client sees it, and what it leaves in the store."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chaos.faults.proxy import FaultProxy
from chaos.faults.rules import Fault, Rule
from chaos.faults.upstream import Upstream
from chaos.rig.api import MERGE_PATCH, Api
from chaos.rig.processes import Died, Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually, wait_until
from tests.rig.fixtures import StartFaultProxy, StartGateway

# What a client sees of a connection that is reset, whether it was writing or reading.
RESET = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)


class Client:
    """A plain HTTP client of one namespace's config maps, through the proxy."""

    def __init__(self, session: aiohttp.ClientSession, api: Api, proxy: FaultProxy, namespace: str) -> None:
        self.session = session
        self.api = api
        self.proxy = proxy
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/configmaps"

    async def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **options: Any
    ) -> tuple[int, Any, aiohttp.typedefs.LooseHeaders]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.api.token}", "Content-Type": kind}
        async with self.session.request(
            method, self.proxy.url + path, data=data, headers=headers, **options
        ) as answer:
            content = await answer.read()
            is_json = content and answer.content_type == "application/json"
            parsed = json.loads(content) if is_json else content.decode()
            return answer.status, parsed, answer.headers

    async def create(self, name: str, **data: str) -> tuple[int, Any, Any]:
        return await self.call("POST", self.path, {"metadata": {"name": name}, "data": data})

    async def stored(self, name: str) -> dict[str, Any] | None:
        """What is in the store, past the proxy."""
        status, found = await asyncio.to_thread(self.api.send, "GET", f"{self.path}/{name}")
        assert status in (200, 404)
        return found if status == 200 else None

    @asynccontextmanager
    async def watching(self, more: str = "") -> AsyncIterator[asyncio.Queue[str]]:
        """The names that a watch tells of, as they come; at its end, "end", and "reset" if it was broken off."""
        # Past the proxy, and from a version: without one a fresh API server may refuse for want of a warm cache.
        _, listed = await asyncio.to_thread(self.api.send, "GET", self.path)
        since = listed["metadata"]["resourceVersion"]
        names: asyncio.Queue[str] = asyncio.Queue()
        headers = {"Authorization": f"Bearer {self.api.token}"}
        url = f"{self.proxy.url}{self.path}?watch=1&resourceVersion={since}{more}"
        async with self.session.get(url, headers=headers) as answer:
            assert answer.status == 200

            async def read() -> None:
                try:
                    async for line in answer.content:
                        names.put_nowait(json.loads(line)["object"]["metadata"]["name"])
                    names.put_nowait("end")
                except RESET:
                    names.put_nowait("reset")

            reading = asyncio.create_task(read())
            try:
                yield names
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


@pytest.fixture
async def client(cluster: Api, namespace: str) -> AsyncIterator[Client]:
    async with FaultProxy(Upstream.read(cluster.kubeconfig)) as proxy:
        trust = ssl.create_default_context(cadata=proxy.ca)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            yield Client(session, cluster, proxy, namespace)


async def next_of(names: asyncio.Queue[str], seconds: float = 20.0) -> str:
    async with asyncio.timeout(seconds):
        return await names.get()


async def test_without_rules_everything_passes_as_it_is(client: Client) -> None:
    status, made, headers = await client.create("a", x="1")
    assert (status, made["data"]) == (201, {"x": "1"})
    assert "Audit-Id" in headers
    assert (await client.create("a"))[0] == 409
    status, changed, _ = await client.call(
        "PATCH", f"{client.path}/a", {"data": {"y": "2"}}, kind=MERGE_PATCH
    )
    assert (status, changed["data"]) == (200, {"x": "1", "y": "2"})
    assert (await client.call("GET", f"{client.path}/a"))[1] == await client.stored("a")
    assert (await client.call("HEAD", f"{client.path}/a"))[0] == 405  # the API has none
    assert (await client.call("GET", f"{client.path}?labelSelector=a%20in%20(b%2Cc)"))[1]["items"] == []
    assert (await client.call("DELETE", f"{client.path}/a"))[0] == 200
    assert await client.stored("a") is None
    assert (await client.call("GET", "/no//such%2Fpath"))[0] == 404
    assert client.proxy.counts() == {"requests": 8, "forwarded": 8, "open watches": 0}


async def test_who_has_no_token_is_not_let_in_by_the_proxy(client: Client) -> None:
    async with client.session.get(client.proxy.url + client.path) as answer:
        assert answer.status == 403


async def test_large_bodies_pass_both_ways_plain_and_compressed(client: Client) -> None:
    data = {f"key{number}": "x" * 100_000 for number in range(9)}
    status, _, _ = await client.call("POST", client.path, {"metadata": {"name": "large"}, "data": data})
    assert status == 201
    for coding in ("identity", "gzip"):
        found = await client.session.get(
            f"{client.proxy.url}{client.path}/large",
            headers={"Authorization": f"Bearer {client.api.token}", "Accept-Encoding": coding},
        )
        assert (await found.json())["data"] == data
        assert found.headers.get("Content-Encoding", "identity") == coding


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(client: Client) -> None:
    status, _, _ = await client.call(
        "POST", client.path, {"metadata": {"name": "asked"}}, expect100=True, timeout=aiohttp.ClientTimeout(5)
    )
    assert status == 201


async def test_very_long_selectors_pass(client: Client) -> None:
    selector = "a%20in%20(" + "%2C".join(f"{number:063d}" for number in range(500)) + ")"
    assert (await client.call("GET", f"{client.path}?labelSelector={selector}"))[1]["items"] == []


async def test_a_hundred_requests_at_once_do_not_wait_for_each_other(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.DELAY, seconds=0.5)]
    began = time.monotonic()
    answers = await asyncio.gather(*(client.call("GET", client.path) for _ in range(100)))
    assert {status for status, _, _ in answers} == {200}
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("rule", "status", "retry_after", "reason"),
    [
        (Rule(Fault.THROTTLED), 429, None, None),
        (Rule(Fault.THROTTLED, retry_after=7), 429, "7", None),
        (Rule(Fault.ERROR), 500, None, "InternalError"),
        (Rule(Fault.UNAVAILABLE), 503, None, "ServiceUnavailable"),
        (Rule(Fault.UNAVAILABLE, retry_after=7), 503, "7", "ServiceUnavailable"),
        (Rule(Fault.CONFLICT), 409, None, "Conflict"),
    ],
)
async def test_an_injected_refusal_leaves_nothing_and_says_what_the_api_says(
    client: Client, rule: Rule, status: int, retry_after: str | None, reason: str | None
) -> None:
    client.proxy.rules = [rule]
    found, body, headers = await client.create("a")
    assert (found, headers.get("Retry-After")) == (status, retry_after)
    if reason is None:
        assert body == "Too many requests, please try again later.\n"
    else:
        assert (body["kind"], body["status"], body["reason"], body["code"]) == (
            "Status",
            "Failure",
            reason,
            status,
        )
    assert await client.stored("a") is None
    assert client.proxy.counts() == {"requests": 1, rule.fault.value: 1, "open watches": 0}
    # The connection stays good.
    client.proxy.rules = []
    assert (await client.create("a"))[0] == 201


@pytest.mark.parametrize("resource", ["core", "custom"])
async def test_an_injected_conflict_is_the_one_that_the_api_gives(client: Client, resource: str) -> None:
    body: dict[str, Any]
    if resource == "core":
        body = {"apiVersion": "v1", "kind": "ConfigMap"}
        path = client.path
    else:
        definition = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": client.namespace},
        }
        body, path = definition, f"/apis/coordination.k8s.io/v1/namespaces/{client.namespace}/leases"
    body = {**body, "metadata": {"name": "a"}}
    assert (await client.call("POST", path, body))[0] == 201
    stale = {"metadata": {"resourceVersion": "1", "labels": {"x": "y"}}}
    real, given, _ = await client.call("PATCH", f"{path}/a", stale, kind=MERGE_PATCH)
    client.proxy.rules = [Rule(Fault.CONFLICT)]
    injected, copied, _ = await client.call("PATCH", f"{path}/a", stale, kind=MERGE_PATCH)
    assert (injected, copied) == (real, given)
    # A create names its object in the body.
    created = (await client.call("POST", path, body))[1]
    assert created["details"] == given["details"]


async def test_a_reset_comes_before_the_write(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.RESET, write=True)]
    with pytest.raises(RESET):
        await client.create("a")
    assert await client.stored("a") is None
    assert (await client.call("GET", client.path))[0] == 200
    assert client.proxy.count("reset") == 1
    assert client.proxy.count("forwarded") == 1


@pytest.mark.parametrize(
    ("method", "name", "body", "kind"),
    [
        ("POST", "", {"metadata": {"name": "a"}, "data": {"x": "1"}}, "application/json"),
        ("PUT", "/a", {"metadata": {"name": "a"}, "data": {"x": "1"}}, "application/json"),
        ("PATCH", "/a", {"data": {"x": "1"}}, MERGE_PATCH),
        ("DELETE", "/a", None, "application/json"),
    ],
)
async def test_a_lost_answer_comes_after_the_write(
    client: Client, method: str, name: str, body: Any, kind: str
) -> None:
    if name:
        await client.create("a")
    client.proxy.rules = [Rule(Fault.ANSWER_LOST, write=True)]
    # As some clients do, this one would send a PUT or DELETE again.
    client.session._retry_connection = False
    with pytest.raises(RESET):
        await client.call(method, client.path + name, body, kind=kind)
    found = await client.stored("a")
    assert (found and found["data"]) == (None if method == "DELETE" else {"x": "1"})
    assert client.proxy.count("answer lost") == 1


async def test_a_hanging_write_is_performed_and_never_answered(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.HANG, verbs=("create",))]
    creating = asyncio.create_task(client.create("a"))
    await eventually(lambda: client.proxy.count("hang") == 1, "the write to be performed")
    assert await client.stored("a") is not None
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(creating, 0.2)


async def test_a_swallowed_write_is_neither_performed_nor_answered(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.SWALLOWED, verbs=("create",))]
    creating = asyncio.create_task(client.create("a"))
    await eventually(lambda: client.proxy.count("swallowed") == 1, "the write to be swallowed")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(creating, 0.3)
    assert await client.stored("a") is None
    assert client.proxy.counts() == {"requests": 1, "swallowed": 1, "open watches": 0}


async def test_a_delay_delays_and_then_passes(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.DELAY, seconds=0.3, jitter=0.05)]
    began = time.monotonic()
    assert (await client.create("a"))[0] == 201
    assert time.monotonic() - began >= 0.25
    assert client.proxy.count("delay") == 1


async def test_a_delayed_write_whose_client_gave_up_is_not_performed_but_a_late_one_is(
    client: Client,
) -> None:
    client.proxy.rules = [
        Rule(Fault.DELAY, seconds=1.0, times=1),
        Rule(Fault.LATE, seconds=1.0, skip=1, times=1),
    ]
    for name, fault in (("delayed", "delay"), ("late", "late")):
        creating = asyncio.create_task(client.create(name))
        await eventually(lambda fault=fault: client.proxy.count(fault) == 1, "the write to be held back")
        assert client.proxy.count("forwarded") == 0
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)

    path = f"{client.path}/late"
    await asyncio.to_thread(wait_until, lambda: client.api.send("GET", path)[0] == 200, "the late write")
    assert await client.stored("delayed") is None


async def test_a_late_write_whose_client_waits_is_answered(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.LATE, seconds=0.1)]
    status, made, headers = await client.create("a")
    assert (status, made["metadata"]["name"], headers["Content-Type"]) == (201, "a", "application/json")


async def test_watches_stream_at_once_freeze_whole_and_go_on(client: Client) -> None:
    async with client.watching() as before:
        took = []
        for name in ("a0", "a1", "a2"):
            began = time.monotonic()
            await client.create(name)
            assert await next_of(before) == name
            took.append(time.monotonic() - began)
        assert min(took) < 2
        client.proxy.rules = [Rule(Fault.FREEZE)]
        async with client.watching() as during:  # it opens, and stays silent
            await client.create("b")
            assert [one["metadata"]["name"] for one in (await client.call("GET", client.path))[1]["items"]][
                -1
            ] == "b"
            with pytest.raises(TimeoutError):
                await next_of(before, 0.5)
            assert during.empty()
            assert client.proxy.count("freeze") == 2
            assert client.proxy.counts()["open watches"] == 2
            client.proxy.rules = []
            assert await next_of(before) == "b"
            assert await next_of(during) == "b"
    await eventually(
        lambda: client.proxy.counts()["open watches"] == 0, "the proxy to notice that they are gone"
    )


async def test_watches_are_cut_once_or_by_rule(client: Client) -> None:
    async with client.watching() as first, client.watching() as second:
        assert client.proxy.cut_watches() == 2
        assert {await next_of(first), await next_of(second)} == {"reset"}
    async with client.watching() as third:
        client.proxy.rules = [Rule(Fault.CUT, seconds=0.2)]
        assert await next_of(third) == "reset"
        async with client.watching() as fourth:
            assert await next_of(fourth) == "reset"
        client.proxy.rules = [Rule(Fault.CUT, seconds=60)]
        async with client.watching() as fifth:  # until then it is a watch like any other
            await client.create("a")
            assert await next_of(fifth) == "a"
            client.proxy.rules = [Rule(Fault.CUT, seconds=0.2)]
            assert await next_of(fifth) == "reset"
    assert client.proxy.count("cut") == 5


async def test_a_frozen_watch_can_be_cut(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.FREEZE)]
    async with client.watching() as names:
        await client.create("a")
        assert client.proxy.cut_watches() == 1
        assert await next_of(names) == "reset"


async def test_a_watch_ends_where_the_api_ends_it(client: Client) -> None:
    async with client.watching("&timeoutSeconds=1") as names:
        assert await next_of(names) == "end"


async def test_rules_change_while_requests_wait(client: Client) -> None:
    client.proxy.rules = [Rule(Fault.SWALLOWED, times=1), Rule(Fault.ERROR)]
    waiting = asyncio.create_task(client.create("a"))
    await eventually(lambda: client.proxy.count("swallowed") == 1, "the first to be swallowed")
    assert (await client.create("b"))[0] == 500
    client.proxy.rules = [Rule(Fault.THROTTLED, share=0.2, write=True)]
    statuses = [(await client.create(f"c{number}"))[0] for number in range(25)]
    client.proxy.arm(client.proxy.rules)
    again = [(await client.create(f"d{number}"))[0] for number in range(25)]
    assert statuses == again
    assert statuses.count(429) + statuses.count(201) == 25
    assert 1 <= statuses.count(429) <= 10
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_it_ends_at_once_whatever_hangs(cluster: Api, namespace: str) -> None:
    rules = [
        Rule(Fault.HANG, verbs=("create",)),
        Rule(Fault.FREEZE),
        Rule(Fault.LATE, seconds=60, verbs=("list",)),
    ]
    async with FaultProxy(Upstream.read(cluster.kubeconfig), rules=rules) as proxy:
        trust = ssl.create_default_context(cadata=proxy.ca)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            client = Client(session, cluster, proxy, namespace)
            async with client.watching() as names:
                calls = [
                    asyncio.create_task(client.create("a")),
                    asyncio.create_task(client.call("GET", client.path)),
                ]
                await eventually(lambda: proxy.count("hang") == proxy.count("late") == 1, "both to hang")
                # What it would wait for handlers that nobody ends: so long that no busy machine takes as long.
                assert proxy._runner is not None
                proxy._runner._shutdown_timeout = 40
                began = time.monotonic()
                await proxy.__aexit__(None, None, None)
                assert time.monotonic() - began < 20
                failed = await asyncio.gather(*calls, return_exceptions=True)
                assert [isinstance(error, RESET) for error in failed] == [True, True]
                assert await next_of(names) == "reset"


async def test_where_the_api_cannot_be_reached_the_connection_is_reset() -> None:
    # Port 1 of loopback: nobody listens there.
    async with FaultProxy(Upstream(url="http://127.0.0.1:1")) as proxy:
        trust = ssl.create_default_context(cadata=proxy.ca)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            with pytest.raises(RESET):
                await session.post(f"{proxy.url}/api/v1/namespaces", data=b"{}")
        assert proxy.count("upstream lost") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_is_never_sent_twice(method: str) -> None:
    """Even where the API closes a kept connection just as the request arrives, and clients may try again."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            head = await reader.readuntil(b"\r\n\r\n")
            if line.startswith(method.encode()):
                seen.append(line)
                break
            assert b"transfer-encoding" not in head.lower()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with FaultProxy(Upstream(url=f"http://127.0.0.1:{port}")) as proxy:
            trust = ssl.create_default_context(cadata=proxy.ca)
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
                await (await session.get(proxy.url + "/version")).read()
            # On a connection of its own, so that this client does not try again either.
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
                session._retry_connection = False
                with pytest.raises(RESET):
                    await session.request(method, proxy.url + "/api/v1/namespaces/x")
    assert len(seen) == 1


def test_kubectl_works_through_it(start_fault_proxy: StartFaultProxy, cluster: Api, namespace: str) -> None:
    proxy = start_fault_proxy(cluster)
    kubectl = proxy.api.kubectl
    kubectl("-n", namespace, "create", "configmap", "a", "--from-literal=x=1")
    assert kubectl("-n", namespace, "get", "configmap", "a", "-o", "jsonpath={.data.x}") == "1"
    kubectl("-n", namespace, "patch", "configmap", "a", "--type=merge", "-p", '{"data":{"x":"2"}}')
    assert "2" in kubectl("-n", namespace, "describe", "configmap", "a")
    kubectl("-n", namespace, "wait", "configmap/a", "--for=jsonpath={.data.x}=2", "--timeout=10s")
    proxy.set_rules([Rule(Fault.UNAVAILABLE, verbs=("delete",))])
    with pytest.raises(RuntimeError, match="currently unable to handle the request"):
        kubectl("-n", namespace, "delete", "configmap", "a")
    proxy.clear()
    kubectl("-n", namespace, "delete", "configmap", "a")
    assert proxy.count("unavailable") == 1


def test_the_process_is_steered_over_its_control_port(
    start_fault_proxy: StartFaultProxy, cluster: Api, namespace: str
) -> None:
    proxy = start_fault_proxy(cluster, rules=[{"fault": "throttled", "retry_after": 3, "write": True}])
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert proxy.rules() == [{"fault": "throttled", "retry_after": 3, "write": True}]
    assert proxy.api.send("POST", path, {"metadata": {"name": "a"}})[0] == 429
    proxy.set_rules([Rule(Fault.ANSWER_LOST, write=True)], seed=3)
    with pytest.raises(OSError, match=r"."):
        proxy.api.send("POST", path, {"metadata": {"name": "a"}})
    assert cluster.send("GET", f"{path}/a")[0] == 200
    with pytest.raises(ValueError, match=r"rules\[0\]: fault: 'lost'"):
        proxy.set_rules([{"fault": "lost"}])
    assert proxy.rules() == [{"fault": "answer lost", "write": True}]
    proxy.clear()
    assert proxy.api.send("DELETE", f"{path}/a")[0] == 200
    assert proxy.cut_watches() == 0
    assert proxy.counts() == {
        "requests": 3,
        "forwarded": 2,
        "throttled": 1,
        "answer lost": 1,
        "open watches": 0,
    }
    assert proxy.terminate() == 0


def test_a_process_that_cannot_begin_says_why(tmp_path: Path) -> None:
    missing = Process(
        "proxy",
        [sys.executable, "-m", "chaos.faults.proxy", "--kubeconfig", tmp_path / "none"],
        folder=tmp_path,
        cwd=Path(__file__).parents[2],
    )
    missing.start()
    assert missing.wait(seconds=20) == 2
    assert "No such file" in missing.log()
    with pytest.raises(Died):
        missing.until(lambda: False, seconds=1)


def test_a_gateway_reaches_its_api_through_it(
    start_fault_proxy: StartFaultProxy, start_gateway: StartGateway, redis_server: RedisServer, cluster: Api
) -> None:
    proxy = start_fault_proxy(cluster)
    start_gateway(redis=redis_server, cluster=proxy)
    wait_until(lambda: proxy.count("open watches") >= 2, "the gateway to watch requests and namespaces")
    proxy.set_rules([Rule(Fault.FREEZE)])
    wait_until(lambda: proxy.count("freeze") >= 2, "both to be frozen")
