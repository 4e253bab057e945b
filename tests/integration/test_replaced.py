"""Certificates, tokens and the policy are replaced while senders are at work, several times and all at once: no request
fails because of it, and what is new is in force within seconds."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from chaos.rig.api import Api
from chaos.rig.certificates import Authority
from chaos.rig.gateway_process import GatewayProcess, trusting
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import body, count_of, fires
from tests.rig.fixtures import StartGateway

EVE = {"matchers": ['identity="eve"'], "action": "deny", "reason": "eve"}
"""Of every policy here: she sends to the byte what others send."""
SOON = 15.0
"""Seconds; five are promised, on a machine that has nothing else to do."""


class Files:
    """What is replaced: each time as a whole, as a mounted Secret is."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.authority.issue("server", common_name="gateway", loopback=True)
        self.tokens = folder / "tokens"
        self._folder = folder

    def settings(self, *teams: str) -> dict[str, Any]:
        """Those of a gateway that knows these files and denies these teams."""
        tls = {"cert_file": str(self._folder / "server.crt"), "key_file": str(self._folder / "server.key")}
        denied = [
            {"matchers": [f'team="{team}"'], "action": "deny", "reason": team.replace("-", "_")}
            for team in teams
        ]
        return {
            "server": {"tls": tls},
            "auth": {"mode": "bearer", "tokens_file": str(self.tokens)},
            "policy": {"rules": [EVE, *denied]},
        }

    def new_certificate(self) -> None:
        self.authority.issue("server", common_name="gateway", loopback=True)

    def new_tokens(self, *tokens: str) -> None:
        lines = [f"alertmanager:{token}\n" for token in tokens]
        replace(self.tokens, "".join([*lines, "eve:eves-own\n"]))

    def new_policy(self, gateway: GatewayProcess, *teams: str) -> None:
        whole = {**gateway.settings, "policy": self.settings(*teams)["policy"]}
        replace(gateway.config_path, yaml.safe_dump(whole))


def replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_text(text)
    fresh.replace(path)


class Senders:
    """Threads that post the same alert again and again, some on one connection, some on a new one each time."""

    def __init__(self, gateway: GatewayProcess, content: bytes, token: str) -> None:
        self.token = token
        self.statuses: Counter[tuple[str, int]] = Counter()
        self._gateway = gateway
        self._content = content
        self._stop = threading.Event()
        self._turns = [0, 0, 0, 0]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Raises what any of them met."""
        with ThreadPoolExecutor(len(self._turns)) as pool:
            work = [
                pool.submit(self._post, number, keep=number % 2 == 0) for number in range(len(self._turns))
            ]
            try:
                yield
            finally:
                self._stop.set()
                for one in work:
                    one.result()

    async def use(self, token: str) -> None:
        """From the return on, no request shows another token."""
        self.token = token
        before = list(self._turns)
        await eventually(
            lambda: all(now >= then + 2 for now, then in zip(self._turns, before, strict=True)),
            "two turns of each",
        )

    def _post(self, number: int, *, keep: bool) -> None:
        connection = connected(self._gateway)
        while not self._stop.wait(0.01):
            status = post(connection, self._content, self.token)[0]
            self.statuses["kept" if keep else "new", status] += 1
            self._turns[number] += 1
            if not keep:
                connection.close()
                connection = connected(self._gateway)
        connection.close()


def connected(gateway: GatewayProcess) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=20, context=trusting())


def post(connection: http.client.HTTPConnection, content: bytes, token: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request("POST", PATH, content, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def reasons(answer: Any) -> Sequence[str]:
    return [verdict["reason"] for verdict in answer["alerts"]]


async def test_certificates_tokens_and_the_policy_are_replaced_under_load_and_no_request_fails(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    files.new_tokens("token-0")
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=files.settings("team-0"))
    same = body(fires(namespace, "everybodys"))
    senders = Senders(gateway, same, "token-0")
    lingering = connected(gateway)

    def asked(content: bytes, token: str, *, on: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        """What is answered, on a connection of its own if there is no other."""
        if on is not None:
            return post(on, content, token)
        with contextlib.closing(connected(gateway)) as connection:
            return post(connection, content, token)

    def of_team(number: int) -> bytes:
        return body(fires(namespace, "teams", team=f"team-{number}"))

    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", gateway.port))

    async def replace_all(number: int, *, hurry: bool) -> None:
        old, new, certificate = f"token-{number - 1}", f"token-{number}", served()
        assert asked(of_team(number), old, on=lingering)[0] in (201, 202)
        files.new_tokens(old, new)
        files.new_certificate()
        files.new_policy(gateway, f"team-{number}")
        if hurry:
            gateway.signal(signal.SIGHUP)
        await eventually(lambda: served() != certificate, "the certificate", seconds=SOON, every=0.1)
        await eventually(
            lambda: asked(of_team(number - 1), new)[0] in (201, 202),
            "token and policy",
            seconds=SOON,
            every=0.1,
        )
        status, answer = asked(of_team(number), new)
        assert (status, reasons(answer)) == (403, [f"team_{number}"])
        status, answer = asked(same, "eves-own")
        assert (status, reasons(answer)) == (403, ["eve"])
        await senders.use(new)
        files.new_tokens(new)
        allowed = of_team(number - 1)
        await eventually(
            lambda: asked(allowed, old)[0] == 401, "the old token's end", seconds=SOON, every=0.1
        )
        assert asked(allowed, old, on=lingering)[0] == 401

    def warned() -> str:
        """What is said of the configuration."""
        warnings = json.loads(gateway.get("/readyz")[1])["warnings"]
        return next((warning for warning in warnings if "configuration" in warning), "")

    with senders.at_work():
        for number in (1, 2, 3):
            await replace_all(number, hurry=number == 2)
        replace(gateway.config_path, "policy: {default: perhaps}\nstorm: {hold: never}\n")
        await eventually(
            lambda: "policy.default, storm.hold" in warned(), "the warning", seconds=SOON, every=0.1
        )
        assert asked(of_team(3), "token-3")[0] == 403
        files.new_policy(gateway)
        await eventually(
            lambda: asked(of_team(3), "token-3")[0] != 403, "the mended file", seconds=SOON, every=0.1
        )
        assert warned() == ""
    lingering.close()

    accepted = sum(senders.statuses.values())
    assert {status for _, status in senders.statuses} <= {201, 202}, senders.statuses
    assert min(senders.statuses["kept", 202], senders.statuses["new", 202]) > 50, senders.statuses
    await eventually(
        lambda: gateway.metric("gateway_unconfirmed_alerts") == 0, "all to be written", seconds=30, every=0.1
    )
    counts = {one["spec"]["signalLabels"].get("pod"): count_of(one) for one in cluster.requests(namespace)}
    assert counts["everybodys"] == accepted
    assert gateway.metric("gateway_policy_denials_total", reason="eve") == 3


async def test_a_hangup_reads_the_policy_also_from_a_file_that_looks_as_before(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    files.new_tokens("token")
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=files.settings("team-1"))

    def denied(team: str) -> bool:
        with contextlib.closing(connected(gateway)) as connection:
            return post(connection, body(fires(namespace, team=team)), "token")[0] == 403

    files.new_policy(gateway, "team-1", "team-0")
    await eventually(lambda: denied("team-0"), "the watch to have seen the file", seconds=SOON, every=0.1)
    assert (denied("team-1"), denied("team-2")) == (True, False)
    unchanged(gateway.config_path, "team-1", "team-2")
    gateway.signal(signal.SIGHUP)
    await eventually(lambda: denied("team-2"), "the new policy", seconds=SOON, every=0.1)
    assert not denied("team-1")


def unchanged(path: Path, old: str, new: str) -> None:
    """Put another word of the same length into a file that looks as it did."""
    before = path.stat()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
