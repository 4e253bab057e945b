"""Who is let in, and that nobody else leaves a trace: every mode of authentication, with all of its real parts."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import yaml

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess, trusting
from chaos.rig.issuer import issuing
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from gateway.web.auth.revocations import read_entries
from tests.integration.commands import gateway as command
from tests.integration.load import PATH
from tests.integration.senders import MODES, Senders, Shown
from tests.integration.sight import PATIENT, body, count_of, fires
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartAlertmanager, StartGateway, StartRedis, StartToxiproxy
from tests.unit.web.auth.tokens import signing, token


@pytest.fixture
def senders(tmp_path: Path, cluster: Api, namespace: str) -> Senders:
    return Senders(tmp_path, cluster, namespace)


def post(gateway: GatewayProcess, shown: Shown, *alerts: dict[str, object]) -> int:
    """The status of a webhook from a sender; 0 where the connection was not made."""
    if gateway.tls is not None:
        gateway.tls = trusting()  # a connection of its own, with its own certificate or none
        if shown.certificate is not None:
            gateway.tls.load_cert_chain(shown.certificate.certificate, shown.certificate.key)
    return gateway.post(PATH, body(*alerts), headers=shown.headers)[0]


def held(server: RedisServer) -> dict[bytes, bytes]:
    """All that Redis holds, but what the gateway keeps of tokens."""
    with redis.Redis(port=server.port, protocol=2) as client:
        return {key: client.dump(key) or b"" for key in client.scan_iter() if b"{tokens}" not in key}


async def at_rest(server: RedisServer) -> bool:
    """Whether nothing waits to be confirmed, and nothing changes there for half a second: what was accepted before is
    written and settled."""
    before = held(server)
    if b"gw:{0}:queue" in before:
        return False
    await asyncio.sleep(0.5)
    return held(server) == before


def stored(cluster: Api, namespace: str) -> Mapping[str, str]:
    found = cluster.requests(namespace)
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in found}


@pytest.mark.parametrize("state", ["up", "down", "slow"])
@pytest.mark.parametrize("mode", MODES)
async def test_whoever_is_not_let_in_leaves_no_trace_in_redis_and_kubernetes(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_toxiproxy: StartToxiproxy,
    cluster: Api,
    namespace: str,
    senders: Senders,
    mode: str,
    state: str,
) -> None:
    server = start_redis()
    proxy = start_toxiproxy().proxy(server.port)
    settings = {**senders.settings(mode), **STEADY, "kubernetes": {"namespaces": [namespace]}}
    settings["server"] = {**settings.get("server", {}), **PATIENT["server"]}
    gateway = start_gateway(redis=f"redis://{proxy.address}/0", cluster=cluster, settings=settings)
    assert post(gateway, senders.good(mode), fires(namespace, "known")) == 201
    await eventually(lambda: at_rest(server), "Redis to be at rest", every=0.3)
    if state == "down":
        proxy.disable()
    elif state == "slow":
        proxy.add("latency", latency=3000)  # longer than the longest call has
    bad = senders.bad(mode)
    refused = [name for name, shown in bad.items() if shown.status]

    before = held(server), stored(cluster, namespace)
    counted = validations(gateway)
    answers = {name: post(gateway, shown, fires(namespace, "unknown")) for name, shown in bad.items()}
    assert (held(server), stored(cluster, namespace)) == before
    assert answers == {name: shown.status for name, shown in bad.items()}
    assert validations(gateway) - counted == len(refused)
    assert gateway.metric("gateway_alerts_received_total") == 1
    assert gateway.metric("gateway_unconfirmed_alerts") == 0

    assert post(gateway, senders.good(mode), fires(namespace, "later")) == 201
    assert len(cluster.requests(namespace)) == 2


def validations(gateway: GatewayProcess) -> float:
    """Refused requests, as they are counted."""
    every = gateway.metric("gateway_token_validations_total")
    return every - gateway.metric("gateway_token_validations_total", result="valid")


KINDS = ("basic", "bearer", "jwt", "oauth2", "tokenreview", "mtls")
EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"


def example(kind: str) -> dict[str, Any]:
    """The whole configuration of Alertmanager that `deploy/` has for a way to authenticate."""
    name = "alertmanager.yaml" if kind == "bearer" else f"alertmanager-{kind}.yaml"
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return found


def here(value: Any, files: Mapping[str, Path]) -> Any:
    """The same with the files of this test: each path becomes the file of its name."""
    if isinstance(value, dict):
        return {key: here(one, files) for key, one in value.items()}
    return str(files[Path(value).name]) if isinstance(value, str) and value.startswith("/") else value


def files_of(kind: str, senders: Senders, folder: Path) -> dict[str, Path]:
    """What Alertmanager reads, by the names that the examples give it."""
    secret = folder / "secret"
    if kind == "mtls":
        return {
            "ca.crt": senders.ca.file,
            "tls.crt": senders.client.certificate,
            "tls.key": senders.client.key,
        }
    words = {"basic": "s3cret", "oauth2": "hush"}
    secret.write_text(words.get(kind) or senders.good(kind).headers["Authorization"].partition(" ")[2])
    return dict.fromkeys(("gateway-token", "gateway-password", "client-secret", "token"), secret)


def test_there_is_an_example_for_each_way_to_authenticate_and_they_differ_in_that_alone() -> None:
    assert len(list(EXAMPLES.glob("alertmanager*.yaml"))) == len(KINDS)
    configs = [example(kind) for kind in KINDS]
    own = []
    for config in configs:
        (receiver,) = config["receivers"]
        (webhook,) = receiver["webhook_configs"]
        webhook["url"] = webhook["url"].replace("https://", "http://")
        own.append(webhook.pop("http_config"))
    assert all(config == configs[0] for config in configs)
    assert {one.pop("follow_redirects") for one in own} == {False}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_real_alertmanager_delivers_with_the_example_for_it(
    start_gateway: StartGateway,
    start_alertmanager: StartAlertmanager,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    senders: Senders,
    tmp_path: Path,
    kind: str,
) -> None:
    with issuing(alertmanager="hush") as issuer:
        if kind == "oauth2":
            jwt = {
                "issuer": issuer.url,
                "jwks_url": issuer.jwks_url,
                "revocations_file": str(tmp_path / "revoked"),
            }
            settings: dict[str, Any] = {"auth": {"mode": "jwt", "jwt": jwt}}
        else:
            settings = senders.settings(kind)
        gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
        config = example(kind)
        config["route"] |= {"group_wait": "100ms", "group_interval": "300ms"}
        (webhook,) = config["receivers"][0]["webhook_configs"]
        meant = urlsplit(webhook["url"])
        webhook["url"] = gateway.url + meant.path
        webhook["http_config"] = here(webhook["http_config"], files_of(kind, senders, tmp_path))
        if kind == "oauth2":
            webhook["http_config"]["oauth2"]["token_url"] = issuer.token_url
        assert (meant.scheme, meant.path) == (urlsplit(gateway.url).scheme, PATH)
        alertmanager = start_alertmanager(config)
        alertmanager.post_alerts([fires(namespace)])
        await eventually(lambda: cluster.requests(namespace), "the request", seconds=20)
        assert [count_of(one) for one in cluster.requests(namespace)] == [1]
        assert validations(gateway) == 0


async def test_a_revoked_token_stays_revoked_after_a_restart_with_redis_gone(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    cluster: Api,
    namespace: str,
    senders: Senders,
    tmp_path: Path,
) -> None:
    server = start_redis()
    settings = {**senders.settings("jwt"), **PATIENT}
    gateway = start_gateway(redis=server, cluster=cluster, settings=settings)
    config = ["--config", str(gateway.config_path)]
    # Each gateway keeps its own file; what the command writes is for those that are beside it.
    aside = ["--set", f"auth.jwt.revocations_file={tmp_path / 'aside'}"]
    taken, good = [await issued(name, *config) for name in ("alertmanager", "prober")]
    await eventually(
        lambda: gateway.metric("gateway_token_generations_total") == 2, "the tokens to be counted"
    )
    assert post(gateway, taken, fires(namespace, "one")) == 201

    await call("token", "revoke", taken.headers["Authorization"].partition(" ")[2], *config, *aside)
    await eventually(
        lambda: post(gateway, taken, fires(namespace, "one")) == 401, "the revocation", every=0.2
    )
    revoked_ids = read_entries((tmp_path / "aside").read_text()).keys()
    assert revoked_ids
    # It counts a moment before it is in the gateway's file.
    own = senders.key.with_name("token.key.revoked")
    await eventually(lambda: revoked_ids <= read_entries(own.read_text()).keys(), "it to be kept")
    revoked = gateway.metric("gateway_token_validations_total", result="revoked")
    server.kill()
    assert post(gateway, taken, fires(namespace, "two")) == 401
    gateway.restart(wait="ready")
    assert post(gateway, taken, fires(namespace, "two")) == 401
    assert post(gateway, good, fires(namespace, "two")) == 201
    assert revoked >= 1
    assert gateway.metric("gateway_token_validations_total", result="revoked") == 1


async def test_no_signed_token_counts_before_any_list_was_read(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str, senders: Senders
) -> None:
    server = start_redis()
    server.kill()
    senders.key.with_name("token.key.revoked").unlink()  # a gateway that never ran here
    gateway = start_gateway(
        redis=server, cluster=cluster, settings={**senders.settings("jwt"), **PATIENT}, wait="alive"
    )
    good = senders.good("jwt")
    assert post(gateway, good, fires(namespace)) == 503
    assert post(gateway, Shown(401, {"Authorization": "Bearer x"}), fires(namespace)) == 401
    assert cluster.requests(namespace) == []
    server.start()
    await eventually(lambda: post(gateway, good, fires(namespace)) == 201, "a list", seconds=20, every=0.2)
    assert gateway.metric("gateway_token_validations_total", result="unavailable") >= 1


async def test_an_entry_that_cannot_be_read_stands_for_its_token(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str, senders: Senders
) -> None:
    server = start_redis()
    one = Shown(401, {"Authorization": f"Bearer {token(signing(senders.key), jti='doubtful')}"})
    with redis.Redis(port=server.port, protocol=2) as client:
        client.hset("gw:{tokens}:revoked", "doubtful", os.urandom(20))
    gateway = start_gateway(redis=server, cluster=cluster, settings={**senders.settings("jwt"), **PATIENT})
    await eventually(
        lambda: b"no list" not in gateway.get("/readyz")[1] and post(gateway, one, fires(namespace)) == 401,
        "the list",
        every=0.2,
    )
    assert post(gateway, senders.good("jwt"), fires(namespace)) == 201
    assert len(cluster.requests(namespace)) == 1


async def test_the_clusters_own_rules_decide_who_may_post(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, senders: Senders
) -> None:
    path = f"/gateway/{namespace}"
    settings = {**senders.settings("tokenreview"), **PATIENT}
    settings["auth"]["tokenreview"] |= {"access": {"verb": "post", "path": path}, "cache": "500ms"}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    account = senders.good("tokenreview")
    assert post(gateway, account, fires(namespace)) == 403
    assert cluster.requests(namespace) == []
    rbac = "rbac.authorization.k8s.io"
    names = {"metadata": {"name": f"post-{namespace}"}, "apiVersion": f"{rbac}/v1"}
    rule = {"nonResourceURLs": [path], "verbs": ["post"]}
    subject = {"kind": "ServiceAccount", "name": "alertmanager", "namespace": namespace}
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": f"post-{namespace}"}
    cluster.apply([{**names, "kind": "ClusterRole", "rules": [rule]}])
    cluster.apply([{**names, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]}])
    await eventually(lambda: post(gateway, account, fires(namespace)) == 201, "the permission", every=0.2)


async def test_certificates_and_users_are_replaced_under_load_and_no_request_fails(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, senders: Senders
) -> None:
    settings = senders.settings("mtls")
    settings["auth"] |= {"mode": ["basic", "mtls"], "users_file": str(senders.users)}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    stop, statuses = threading.Event(), Counter[tuple[str, int]]()

    def keep_posting(mode: str) -> None:
        mine, shown = trusting(), senders.good(mode)
        if shown.certificate is not None:
            mine.load_cert_chain(shown.certificate.certificate, shown.certificate.key)
        while not stop.is_set():
            # A connection of its own for each, so that every moment of the exchange is met.
            connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=15, context=mine)
            with contextlib.closing(connection):
                headers = {"Content-Type": "application/json", **shown.headers}
                connection.request("POST", PATH, body(fires(namespace)), headers)
                statuses[mode, connection.getresponse().status] += 1

    before = ssl.get_server_certificate(("127.0.0.1", gateway.port))
    with ThreadPoolExecutor(3) as pool:
        senders_at_work = [pool.submit(keep_posting, mode) for mode in ("mtls", "mtls", "basic")]
        try:
            for _ in range(3):
                senders.ca.issue("server", common_name="gateway", loopback=True)
                senders.users.write_text(senders.users.read_text() + "# again\n")
                now = await eventually(
                    partial(other_certificate, gateway, before), "another certificate", seconds=20, every=0.2
                )
                assert now != before
                before = now
        finally:
            stop.set()
        for sender in senders_at_work:
            await asyncio.wrap_future(sender)  # none of them met an error
    assert {status for _, status in statuses} <= {201, 202}
    assert min(statuses["mtls", 202], statuses["basic", 202]) > 10


def other_certificate(gateway: GatewayProcess, old: str) -> str:
    found = ssl.get_server_certificate(("127.0.0.1", gateway.port))
    return "" if found == old else found


async def issued(name: str, *words: str) -> Shown:
    """A sender with a token of the gateway's own."""
    made = await call("token", "issue", name, *words)
    return Shown(201, {"Authorization": f"Bearer {made.strip()}"})


async def call(*words: str) -> str:
    """What a command prints, once it has done its work."""
    done = await asyncio.to_thread(command, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
