"""The connection: every failure is a `KubeError` in time, credentials are taken up, nothing is sent twice."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from chaos.rig.certificates import Authority
from gateway.errors import ConfigurationError, KubeForbidden, KubeNotFound, KubeThrottled, KubeUnavailable
from gateway.kube import sessions
from gateway.kube.client import Cluster
from gateway.kube.connection import LARGE_BODY, Call, Connection, Timeouts
from gateway.kube.objects import ANNOTATION_APPLIED
from gateway.kube.observing import NullObserver, Verb
from gateway.model import RequestRef

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
READ = Call(Verb.GET, "GET", "/x")


class Calls(NullObserver):
    def __init__(self) -> None:
        self.seen: list[tuple[Verb, int, str]] = []
        self.reloads = 0

    def called(self, verb: Verb, code: int, seconds: float, error: str) -> None:
        assert seconds >= 0
        self.seen.append((verb, code, error))

    def credentials_reloaded(self) -> None:
        self.reloads += 1


def write_config(
    path: Path, url: str, user: dict[str, Any] | None = None, *, trusted: Path | None = None
) -> Path:
    cluster = {"server": url} | ({"certificate-authority": str(trusted)} if trusted else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [
            {"name": "u", "user": user or {"token": "secret"}},
            {"name": "v", "user": {"token": "other"}},
        ],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "two", "context": {"cluster": "c", "user": "v"}},
        ],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=10**8)
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Connection]]]:
    """Opens a connection to a server made of one handler."""
    async with AsyncExitStack() as stack:

        async def make(handler: Handler, observer: Calls | None = None, **fields: Any) -> Connection:
            url = await stack.enter_async_context(serving(handler))
            kubeconfig = write_config(tmp_path / "config", url, fields.pop("user", None))
            line = Connection(kubeconfig=str(kubeconfig), observer=observer, **fields)
            await line.open()
            stack.push_async_callback(line.close)
            return line

        yield make


Connect = Callable[..., Awaitable[Connection]]


async def test_a_call_is_sent_as_it_is_given(connect: Connect) -> None:
    async def echo(request: web.Request) -> web.Response:
        headers = [request.headers.get(name, "") for name in ("Authorization", "Accept", "Content-Type")]
        said = [request.method, request.path_qs, *headers, (await request.read()).decode()]
        return web.Response(text="|".join(said))

    line = await connect(echo)
    call = Call(
        Verb.PATCH, "PATCH", "/a%2Fb", {"q": "in (x,y)"}, b"{}", "application/merge-patch+json", "a/b"
    )
    answer = (await line.call(call)).decode().split("|")
    assert answer == [
        "PATCH",
        "/a%2Fb?q=in+%28x%2Cy%29",
        "Bearer secret",
        "a/b",
        "application/merge-patch+json",
        "{}",
    ]


async def test_the_context_chooses_the_user(connect: Connect) -> None:
    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Authorization"])

    line = await connect(who, context="two")
    assert await line.call(READ) == b"Bearer other"


async def test_a_large_body_is_sent_without_a_warning(connect: Connect) -> None:
    async def size(request: web.Request) -> web.Response:
        return web.Response(text=f"{len(await request.read())} {request.headers.get('Content-Length')}")

    line = await connect(size)
    large = b"x" * (4 * LARGE_BODY)
    assert (
        await line.call(Call(Verb.CREATE, "POST", "/", body=large)) == f"{len(large)} {len(large)}".encode()
    )


async def test_an_answer_that_takes_too_long_is_given_up(connect: Connect) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"begun")
        await asyncio.sleep(30)
        return answer

    calls = Calls()
    line = await connect(slow, calls, timeouts=Timeouts(call=1.5))  # its beginning comes within that
    with pytest.raises(KubeUnavailable):
        await line.call(READ)
    assert calls.seen == [(Verb.GET, 200, "KubeUnavailable")]


async def test_a_connection_cut_in_the_middle_is_an_unsure_answer(connect: Connect) -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    line = await connect(cut)
    with pytest.raises(KubeUnavailable) as error:
        await line.call(Call(Verb.CREATE, "POST", "/x", body=b"{}"))
    assert error.value.status == 0


async def test_a_redirect_is_not_followed(connect: Connect) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    line = await connect(elsewhere)
    with pytest.raises(KubeUnavailable):
        await line.call(READ)
    assert seen == ["/x"]


async def test_every_ending_is_observed(connect: Connect) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/hang":
            await asyncio.sleep(30)
        return web.Response(status=int(request.path[1:]), headers={"Retry-After": "3"})

    calls = Calls()
    line = await connect(answer, calls)
    await line.call(Call(Verb.LIST, "GET", "/200"))
    with pytest.raises(KubeThrottled) as error:
        await line.call(Call(Verb.CREATE, "POST", "/429", body=b""))
    assert error.value.retry_after == 3.0
    task = asyncio.create_task(line.call(Call(Verb.GET, "GET", "/hang")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls.seen == [
        (Verb.LIST, 200, ""),
        (Verb.CREATE, 429, "KubeThrottled"),
        (Verb.GET, 0, "Cancelled"),
    ]


async def test_a_201_that_cannot_be_read_may_have_happened(connect: Connect) -> None:
    async def strange(request: web.Request) -> web.Response:
        return web.Response(status=201, text="<html>")

    cluster = Cluster(await connect(strange), terminal_phases=())
    with pytest.raises(KubeUnavailable):
        await cluster.create("a", b"{}")
    with pytest.raises(KubeUnavailable):
        await cluster.heads(["a" * 64])


@pytest.mark.parametrize("partial", [True, False], ids=["metadata only", "everything"])
@pytest.mark.parametrize("storm", [True, False], ids=["aggregated", "own"])
async def test_only_the_metadata_of_a_new_own_request_come_back_and_the_rest_is_known(
    connect: Connect, *, storm: bool, partial: bool
) -> None:
    body = {
        "metadata": {"name": "rr-a-1"},
        "spec": {
            "signalFingerprint": "f" * 64,
            "signalName": "A",
            "isStorm": storm,
            "deduplication": {"occurrenceCount": 3},
        },
    }

    async def create(request: web.Request) -> web.Response:
        sent = await request.json()
        metadata = {**sent["metadata"], "namespace": "a", "uid": "u", "resourceVersion": "7"}
        metadata["annotations"] = {ANNOTATION_APPLIED: "marks"}
        only = "as=PartialObjectMetadata" in request.headers["Accept"]
        assert only is not storm
        # A server that knows nothing of it answers what comes next in the list: the whole object.
        rest = {} if only and partial else {"spec": sent["spec"] | {"signalName": "changed on the way"}}
        return web.json_response({"metadata": metadata, **rest}, status=201)

    cluster = Cluster(await connect(create), terminal_phases=())
    made = await cluster.create("a", json.dumps(body).encode())
    assert (made.ref, made.uid, made.resource_version) == (RequestRef("a", "rr-a-1"), "u", 7)
    assert (made.fingerprint, made.count, made.applied, made.is_storm) == ("f" * 64, 3, "marks", storm)
    assert made.signal_name == ("A" if partial and not storm else "changed on the way")


async def test_names_are_quoted_in_paths(connect: Connect) -> None:
    seen: list[str] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response(status=404, text='{"kind":"Status","reason":"NotFound","details":{"name":"x"}}')

    cluster = Cluster(await connect(note), terminal_phases=())
    with pytest.raises(KubeNotFound):
        await cluster.get(RequestRef("a/../b", "c?d#e%"))
    assert seen == [
        "/apis/remediation.kubernaut.io/v1alpha1/namespaces/a%2F..%2Fb/remediationrequests/c%3Fd%23e%25"
    ]


async def test_after_a_401_credentials_are_loaded_once_for_all_that_wait(
    connect: Connect, tmp_path: Path
) -> None:
    async def strict(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers["Authorization"] == "Bearer new" else 401)

    calls = Calls()
    line = await connect(strict, calls)
    write_config(tmp_path / "config", line.host, {"token": "new"})
    await asyncio.gather(*(line.call(READ) for _ in range(20)))
    assert calls.reloads == 1
    assert len(calls.seen) == 40


async def test_a_401_for_good_loads_credentials_no_more_than_now_and_then(connect: Connect) -> None:
    async def never(request: web.Request) -> web.Response:
        return web.Response(status=401)

    calls = Calls()
    line = await connect(never, calls)
    for _ in range(10):
        with pytest.raises(KubeForbidden):
            await line.call(READ)
    assert calls.reloads == 1
    assert len(calls.seen) == 11


async def test_a_watch_outlives_the_change_of_credentials(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/x":
            return web.Response(status=200 if request.headers["Authorization"] == "Bearer new" else 401)
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b"one")
        await more.wait()
        await stream.write(b"two")
        return stream

    line = await connect(answer)
    async with line.stream(Call(Verb.WATCH, "GET", "/watch"), inactivity=10) as pieces:
        assert await anext(pieces) == b"one"
        write_config(tmp_path / "config", line.host, {"token": "new"})
        await line.call(READ)
        more.set()
        assert await anext(pieces) == b"two"


async def test_a_stream_s_refusal_is_translated_and_renews_credentials(
    connect: Connect, tmp_path: Path
) -> None:
    async def strict(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers["Authorization"] == "Bearer new" else 401)

    line = await connect(strict)
    write_config(tmp_path / "config", line.host, {"token": "new"})
    with pytest.raises(KubeForbidden):
        async with line.stream(READ, inactivity=20):
            pass
    async with line.stream(READ, inactivity=20) as pieces:
        assert [piece async for piece in pieces] == []


async def test_headers_of_a_stream_must_come_in_the_time_of_a_call(connect: Connect) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    line = await connect(hang, timeouts=Timeouts(call=0.1))
    with pytest.raises(KubeUnavailable):
        async with line.stream(READ, inactivity=30):
            pass


async def test_a_watch_that_is_given_up_waits_for_no_goodbye(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server", loopback=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)

    def serve(listener: socket.socket) -> str:
        accepted = listener.accept()[0]
        accepted.settimeout(30)
        with tls.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            try:
                connection.recv(1)
            except (ssl.SSLEOFError, ConnectionResetError):
                return "gone"
        return "a goodbye that has to be answered"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        kubeconfig = write_config(tmp_path / "config", url, trusted=authority.file)
        line = Connection(kubeconfig=str(kubeconfig))
        served = asyncio.create_task(asyncio.to_thread(serve, listener))
        await line.open()
        try:
            async with line.stream(READ, inactivity=30) as pieces:
                assert await anext(pieces) == b"one"
            assert await served == "gone"
        finally:
            await line.close()


async def test_closing_ends_what_is_under_way(connect: Connect) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    line = await connect(hang)
    task = asyncio.create_task(line.call(READ))
    await asyncio.sleep(0.05)
    await line.close()
    with pytest.raises(KubeUnavailable):
        await task
    with pytest.raises(KubeUnavailable):
        await line.call(READ)
    await line.close()


async def test_the_environment_s_proxy_is_not_used_for_loopback(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fine(request: web.Request) -> web.Response:
        return web.Response(text="direct")

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    line = await connect(fine)
    assert await line.call(READ) == b"direct"


_UNUSABLE = [
    "",
    "[]",
    "{}",
    "{",
    "kind: Config",
    "current-context: none\ncontexts: []\nclusters: []\nusers: []",
]


@pytest.mark.parametrize("content", _UNUSABLE)
async def test_a_kubeconfig_that_cannot_be_used_is_a_fault_of_the_configuration(
    tmp_path: Path, content: str
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(content)
    with pytest.raises(ConfigurationError) as error:
        await Connection(kubeconfig=str(kubeconfig)).open()
    (fault,) = error.value.faults
    assert fault.startswith(f"kubernetes.kubeconfig: {kubeconfig} cannot be used")


async def test_a_missing_kubeconfig_or_context_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        await Connection(kubeconfig=str(tmp_path / "none")).open()
    kubeconfig = write_config(tmp_path / "config", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError):
        await Connection(kubeconfig=str(kubeconfig), context="three").open()


async def test_without_a_kubeconfig_the_environment_decides(tmp_path: Path) -> None:
    kubeconfig = write_config(tmp_path / "config", "http://127.0.0.1:1/")
    line = Connection(environ={"KUBECONFIG": str(kubeconfig)})
    assert line.host == ""
    await line.open()
    assert line.host == "http://127.0.0.1:1"
    await line.close()
    # In a pod, but one without a service account.
    pod = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBECONFIG": str(kubeconfig),
    }
    with pytest.raises(ConfigurationError, match="in-cluster"):
        await Connection(environ=pod).open()


async def test_in_a_pod_the_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("projected")

    def load(client_configuration: Any, environ: dict[str, str]) -> None:
        client_configuration.host = f"http://{environ['KUBERNETES_SERVICE_HOST']}"
        client_configuration.api_key["BearerToken"] = "Bearer " + token.read_text()

        def again(configuration: Any) -> None:
            configuration.api_key["BearerToken"] = "Bearer " + token.read_text()

        client_configuration.refresh_api_key_hook = again

    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Authorization"])

    monkeypatch.setattr(sessions, "load_incluster_config", load)
    assert not authority.exists()
    async with serving(who) as url:
        line = Connection(environ={"KUBERNETES_SERVICE_HOST": url.removeprefix("http://")})
        await line.open()
        try:
            assert await line.call(READ) == b"Bearer projected"
            token.write_text("rotated")
            assert await line.call(READ) == b"Bearer rotated"
            token.unlink()
            with pytest.raises(KubeForbidden) as error:
                await line.call(READ)
            assert error.value.status == 0
        finally:
            await line.close()
