"""Ten minutes of traffic of every kind within seconds: nobody unauthorised is taken, and each is counted once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.commands import gateway as command
from tests.integration.load import PATH
from tests.integration.senders import Senders, Shown, bearer
from tests.integration.sight import PATIENT, count_of, fires
from tests.rig.fixtures import StartGateway
from tests.unit.web.auth.tokens import mangled, pem, signing, tampered, token, unsigned

AT_ONCE = 32
TAKEN = 202
"""Stands for 201, too."""
ISSUED = 2
SHARE = 230
"""What one identity may send: as much as the valid one does."""

VALIDATIONS = "gateway_token_validations_total"
POLICY = {
    "rules": [
        {"matchers": ['team="noise"'], "action": "deny", "reason": "noisy"},
        {"matchers": ['identity="prober"'], "action": "deny", "reason": "prober"},
    ]
}


@dataclass(frozen=True)
class Kind:
    """One kind of sender and of webhook, and what is to come of it."""

    name: str
    number: int
    shown: Callable[[], Shown]
    result: str
    """Of the check of its credential."""
    alerts: Callable[[str, int], list[dict[str, object]]] = field(
        default=lambda namespace, number: [fires(namespace, f"pod-{number % 20}")]
    )
    answers: dict[int, int] = field(default_factory=dict)
    """Status → how many; all are taken where nothing is said."""
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Metric, label, value → by how much all of them raise it, beside what follows from the above."""
    stored: int = 0
    """Occurrences that each one that is taken adds in Kubernetes."""

    @property
    def told(self) -> Counter[int]:
        return Counter(self.answers or {TAKEN: self.number})


def noise(namespace: str, number: int) -> list[dict[str, object]]:
    return [fires(namespace, f"noise-{number}", team="noise")]


def half_noise(namespace: str, number: int) -> list[dict[str, object]]:
    return [fires(namespace, f"pod-{number % 20}"), *noise(namespace, number)]


def kinds(senders: Senders, folder: Path) -> list[Kind]:
    """All kinds: twelve hundred webhooks, two a second for ten minutes."""
    key = signing(senders.key)
    stranger = folder / "stranger.key"
    stranger.write_bytes(pem())
    other = signing(stranger)

    def refused(name: str, result: str, shown: Callable[[], Shown], number: int = 60) -> Kind:
        return Kind(name, number, shown, result, answers={401: number})

    def own(**claims: Any) -> Callable[[], Shown]:
        return lambda: bearer(token(key, **claims))

    now = int(time.time())
    denials = "gateway_policy_denials_total"
    return [
        Kind("valid", 150, own(), "valid", stored=1),
        Kind(
            "partly denied",
            40,
            own(),
            "valid",
            half_noise,
            counts={(denials, "reason", "noisy"): 40},
            stored=1,
        ),
        Kind(
            "denied by label",
            40,
            own(),
            "valid",
            noise,
            answers={403: 40},
            counts={(denials, "reason", "noisy"): 40},
        ),
        Kind(
            "beyond the rate limit",
            SHARE + 60,
            own(sub="flooder"),
            "valid",
            answers={TAKEN: SHARE, 429: 60},
            counts={("gateway_rate_limited_total", "scope", "identity"): 60},
            stored=1,
        ),
        Kind(
            "denied by identity",
            60,
            own(sub="prober"),
            "valid",
            answers={403: 60},
            counts={(denials, "reason", "prober"): 60},
        ),
        refused("expired", "expired", own(exp=now - 60)),
        refused("not yet valid", "not_yet_valid", own(nbf=now + 600)),
        refused("wrong audience", "wrong_audience", own(aud="other")),
        refused("wrong issuer", "wrong_issuer", own(iss="other")),
        refused("revoked", "revoked", own(jti="taken-back")),
        refused(
            "tampered payload", "bad_signature", lambda: bearer(tampered(token(key), part=1, sub="admin"))
        ),
        refused("tampered signature", "bad_signature", lambda: bearer(mangled(token(key)))),
        refused("unsigned", "bad_algorithm", lambda: bearer(unsigned(token(key)))),
        refused("of a stranger's key", "invalid", lambda: bearer(token(other))),
        refused("no token", "malformed", lambda: bearer("x.y.z"), 40),
        refused("nothing shown", "missing", lambda: Shown(401), 40),
    ]


async def deliver(url: str, namespace: str, every: Sequence[Kind]) -> dict[str, Counter[int]]:
    """Send all of them, in an order that mixes them; kind → how often which status."""
    answers: dict[str, Counter[int]] = {kind.name: Counter() for kind in every}
    waiting = [(kind, number) for kind in every for number in range(kind.number)]
    random.Random(7).shuffle(waiting)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def sender() -> None:
            while waiting:
                kind, number = waiting.pop()
                body = json.dumps({"alerts": kind.alerts(namespace, number)})
                shown = {**headers, **kind.shown().headers}
                async with session.post(url + PATH, data=body, headers=shown) as answer:
                    await answer.read()
                    answers[kind.name][TAKEN if answer.status == 201 else answer.status] += 1

        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return answers


def expected(every: Sequence[Kind]) -> Counter[tuple[str, str, str]]:
    """By how much each metric is to rise; label and value are empty where the metric has none."""
    found: Counter[tuple[str, str, str]] = Counter()
    for kind in every:
        answers = kind.told
        size = len(kind.alerts("n", 0))
        found[VALIDATIONS, "result", kind.result] += kind.number
        found["gateway_token_expirations_total", "", ""] += kind.number * (kind.result == "expired")
        found["gateway_alerts_received_total", "", ""] += size * (answers[TAKEN] + answers[403])
        found["gateway_alerts_processed_total", "", ""] += kind.stored * answers[TAKEN]
        for status, number in answers.items():
            if status != TAKEN:
                found["gateway_requests_total", "code", str(status)] += number
        found.update(kind.counts)
    return found


@pytest.fixture
def senders(tmp_path: Path, cluster: Api, namespace: str) -> Senders:
    return Senders(tmp_path, cluster, namespace)


async def test_of_mixed_traffic_only_the_authorised_is_taken_and_every_metric_is_what_was_sent(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    senders: Senders,
    tmp_path: Path,
) -> None:
    settings = {**senders.settings("jwt"), **PATIENT, "policy": POLICY}
    settings["rate_limit"] = {"requests": SHARE, "window": "10m", "by": "identity"}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    every = kinds(senders, tmp_path)
    assert sum(kind.number for kind in every) == 1200
    for number in range(ISSUED):
        done = await asyncio.to_thread(
            command, "token", "issue", f"sender-{number}", "--config", str(gateway.config_path)
        )
        assert done.returncode == 0, done.stderr
    wanted = expected(every)
    before = {metric: read(gateway, metric) for metric in wanted}

    began = time.monotonic()
    answers = await deliver(gateway.url, namespace, every)
    print(f"1200 webhooks of {len(every)} kinds in {time.monotonic() - began:.1f} s")

    assert answers == {kind.name: kind.told for kind in every}
    risen = {metric: round(read(gateway, metric) - before[metric]) for metric in wanted}
    assert risen == wanted
    assert min(risen.values()) > 0
    await eventually(
        lambda: gateway.metric("gateway_token_generations_total") == ISSUED, "the tokens to be counted"
    )
    await settled_as(gateway, senders)
    stored = sum(map(count_of, cluster.requests(namespace)))
    assert stored == sum(kind.stored * kind.told[TAKEN] for kind in every)
    assert all("noise" not in json.dumps(one["spec"]) for one in cluster.requests(namespace))


def read(gateway: GatewayProcess, metric: tuple[str, str, str]) -> float:
    name, label, value = metric
    labels = {label: value} if label else {}
    found: float = gateway.metric(name, **labels)
    return found


async def settled_as(gateway: GatewayProcess, senders: Senders) -> None:
    """Until nothing is queued and nothing unconfirmed; the status wants a credential here."""
    headers = senders.good("jwt").headers

    def idle() -> bool:
        state = json.loads(gateway.call("GET", "/v1/status", headers=headers)[1])
        return not (state["unconfirmed"] or state["queue"]["depth"])

    await eventually(idle, "everything to be confirmed", seconds=40, every=0.1)
