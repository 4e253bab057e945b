from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chaos.rig.certificates import Authority, Pair
from chaos.rig.waiting import eventually
from gateway.config.settings import AuthMode
from gateway.errors import ConfigurationError
from gateway.web.auth.identities import Credentials, Identity, Refusal, Result
from gateway.web.auth.mtls import Mtls
from gateway.web.service import Web
from tests.unit.web.harness import Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"
BODY = {"alerts": [{"labels": {"alertname": "A"}}]}
NAMES = ["dns:*.Monitoring.svc", "uri:spiffe://prod/*", "cn:prober"]


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(ca: Authority) -> Pair:
    return ca.issue("server", common_name="gateway", loopback=True)


def tls(ca: Authority, server: Pair) -> dict[str, str]:
    return {
        "cert_file": str(server.certificate),
        "key_file": str(server.key),
        "client_ca_file": str(ca.file),
    }


@pytest.fixture
async def guarded(serve: Serve, ca: Authority, server: Pair) -> Service:
    return await serve(server={"tls": tls(ca, server)}, auth={"mode": "mtls", "mtls": {"names": NAMES}})


def client(ca: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca.file))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


async def post(service: Service, context: ssl.SSLContext, **headers: str) -> tuple[int, dict[str, Any]]:
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(service.web.gateway.url + WEBHOOK, json=BODY, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


GOOD: dict[str, dict[str, Any]] = {
    "alertmanager.monitoring.svc": {"dns": ["other", "alertmanager.monitoring.svc"]},
    "spiffe://prod/alertmanager": {"uris": ["spiffe://prod/alertmanager"]},
    "prober": {"common_name": "prober"},
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_certificate_with_a_name_that_is_listed_is_let_in_under_it(
    serve: Serve, ca: Authority, server: Pair, name: str
) -> None:
    rule = {"matchers": [f'identity="{name}"'], "action": "deny", "reason": "seen"}
    service = await serve(
        server={"tls": tls(ca, server)},
        auth={"mode": "mtls", "mtls": {"names": NAMES}},
        policy={"rules": [rule]},
    )
    status, answer = await post(service, client(ca, ca.issue("client", **GOOD[name])))
    assert (status, answer["alerts"][0]["outcome"]) == (403, "denied")
    assert service.value("gateway_policy_denials_total", reason="seen") == 1
    assert service.value("gateway_token_validations_total", result="valid") == 1


@pytest.mark.parametrize(
    "names",
    [
        {"dns": ["alertmanager.other.svc"]},
        {"dns": ["prober"]},  # as another kind of name
        {"common_name": "prober\n"},
        {"common_name": "alertmanager.monitoring.svc"},
        {"uris": ["spiffe://test/alertmanager"]},
        {},
    ],
)
async def test_another_name_is_403(guarded: Service, ca: Authority, names: dict[str, Any]) -> None:
    status, _ = await post(guarded, client(ca, ca.issue("client", **names)))
    assert status == 403
    assert guarded.engine.accepted == []
    assert guarded.value("gateway_token_validations_total", result="forbidden") == 1


async def test_no_certificate_is_401_but_health_answers(guarded: Service, ca: Authority) -> None:
    status, _ = await post(guarded, client(ca))
    assert status == 401
    for path in ("/healthz", "/readyz"):
        async with guarded.client.get(guarded.web.gateway.url + path, ssl=client(ca)) as answer:
            assert answer.status == 200


async def test_a_handshake_has_the_time_of_headers(serve: Serve, ca: Authority, server: Pair) -> None:
    service = await serve(server={"tls": tls(ca, server), "header_timeout": "200ms"})
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()

    async def served() -> bool:
        # A machine that is busy may take longer over a handshake.
        with contextlib.suppress(aiohttp.ClientError, OSError):
            return (await post(service, client(ca)))[0] == 202
        return False

    await eventually(served, "a handshake in time")


async def test_a_certificate_of_another_ca_and_an_expired_one_do_not_get_through_the_handshake(
    guarded: Service, ca: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    good = {"dns": ["alertmanager.monitoring.svc"]}
    for pair in (other.issue("stranger", **good), ca.issue("late", lifetime=-60, **good)):
        with pytest.raises((aiohttp.ClientError, OSError)):
            await post(guarded, client(ca, pair))
    assert guarded.engine.accepted == []


async def test_a_token_beside_the_certificate_is_judged_and_not_made_up_for(
    serve: Serve, ca: Authority, server: Pair, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("relay:s3cret\n")
    service = await serve(
        server={"tls": tls(ca, server)},
        auth={"mode": ["mtls", "bearer"], "tokens_file": str(tokens), "mtls": {"names": NAMES}},
    )
    context = client(ca, ca.issue("client", common_name="prober"))
    assert (await post(service, context))[0] == 202
    assert (await post(service, context, Authorization="Bearer s3cret"))[0] == 202
    assert (await post(service, context, Authorization="Bearer wrong"))[0] == 401
    assert (await post(service, context, Authorization="Basic eDp5"))[0] == 401


async def test_a_certificate_that_ends_while_its_connection_lives_counts_no_more() -> None:
    def certificate(seconds: float) -> dict[str, Any]:
        ends = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(1_000_000 + seconds))
        return {"notAfter": ends, "subject": ((("commonName", "prober"),),)}

    mode = Mtls(NAMES, wall=lambda: 1_000_000.0)
    assert await mode.examine(Credentials(certificate=certificate(5))) == Identity("prober", AuthMode.MTLS)
    assert await mode.examine(Credentials(certificate=certificate(-5))) == Refusal(Result.EXPIRED)
    assert await mode.examine(Credentials()) == Refusal(Result.MISSING)


async def test_files_are_replaced_under_load_and_nobody_notices(
    serve: Serve, ca: Authority, server: Pair, tmp_path: Path
) -> None:
    service = await serve(server={"tls": tls(ca, server)}, auth={"mode": "mtls", "mtls": {"names": NAMES}})
    url = service.web.gateway.url + WEBHOOK
    context = client(ca, ca.issue("client", common_name="prober"))
    stop, statuses = asyncio.Event(), []

    async def keep_posting(*, fresh: bool) -> None:
        connector = aiohttp.TCPConnector(ssl=context, force_close=fresh)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not stop.is_set():
                async with session.post(url, json=BODY) as answer:
                    statuses.append(answer.status)

    before = await serial(service.port)
    senders = [asyncio.ensure_future(keep_posting(fresh=fresh)) for fresh in (True, True, False)]
    for _ in range(2):
        # The certificate first, so that for a moment it does not fit its key.
        ca.issue("server", common_name="gateway", loopback=True)
        now = await serial_other_than(before, service.port)
        assert now != before
        before = now
    stop.set()
    await asyncio.gather(*senders)
    assert set(statuses) == {202}
    assert len(statuses) > 20


async def test_a_connection_that_comes_while_the_certificate_changes_is_served(
    serve: Serve, ca: Authority, server: Pair
) -> None:
    """At whichever step of the loop: waiting, just accepted, or with its handshake begun."""
    service = await serve(server={"tls": tls(ca, server)})
    context = client(ca, ca.issue("client", common_name="prober"))
    listener = service.web.gateway
    current = listener._tls
    assert current is not None
    for steps in range(8):
        waiting = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        await listener.use(current)
        for one in waiting:
            _, writer = await asyncio.open_connection(sock=one, ssl=context, server_hostname="127.0.0.1")
            writer.close()
            await writer.wait_closed()


async def test_a_ca_that_is_taken_out_signs_nobody_in_any_more(
    serve: Serve, ca: Authority, server: Pair, tmp_path: Path
) -> None:
    clients = Authority(tmp_path, "clients")
    files = {**tls(ca, server), "client_ca_file": str(clients.file)}
    service = await serve(server={"tls": files}, auth={"mode": "mtls", "mtls": {"names": NAMES}})
    context = client(ca, clients.issue("client", common_name="prober"))
    assert (await post(service, context))[0] == 202
    Authority(tmp_path, "clients")  # another key under the same name

    async def turned_away() -> bool:
        try:
            await post(service, context)
        except (aiohttp.ClientError, OSError):
            return True
        return False

    await eventually(turned_away, "the new CA", seconds=10)


async def test_files_that_do_not_fit_change_nothing_and_are_warned_of(
    guarded: Service, ca: Authority, server: Pair
) -> None:
    write(server.key, "no key")
    await eventually(lambda: warned(guarded.web), "the warning", seconds=10)
    context = client(ca, ca.issue("client", common_name="prober"))
    assert (await post(guarded, context))[0] == 202


@pytest.mark.parametrize("break_it", [lambda p: p.key.unlink(), lambda p: p.certificate.write_text("x")])
async def test_files_that_cannot_be_used_stop_the_start(
    serve: Serve, ca: Authority, server: Pair, break_it: Callable[[Pair], object]
) -> None:
    break_it(server)
    with pytest.raises(ConfigurationError, match=r"server\.tls"):
        await serve(server={"tls": tls(ca, server)})


def warned(web: Web) -> bool:
    return any("server.tls" in line for line in web._tls_warnings())


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def serial(port: int) -> str:
    """What tells the server's certificate from others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return certificate.hex()
    finally:
        writer.close()
        await writer.wait_closed()


async def serial_other_than(old: str, port: int) -> str:
    async def other() -> str:
        found = await serial(port)
        return "" if found == old else found

    return await eventually(other, "another certificate", seconds=15, every=0.1)
