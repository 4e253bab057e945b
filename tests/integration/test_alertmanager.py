"""A real Alertmanager as the sender: what it sends again, at once or late is counted exactly as it was delivered.

Between the two stands a forwarder that writes down each webhook and its answer: the counts in Kubernetes are held
against that record.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chaos.faults.rules import Fault, Rule
from chaos.rig.alertmanager import Alertmanager, webhook_config
from chaos.rig.api import Api
from chaos.rig.asking import ask_json
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.commands import FINDING, OK, gateway, printed
from tests.integration.forwarding import Forwarder, Labels, forwarding, key
from tests.integration.sight import count_of, resolved_at, settled
from tests.integration.test_counting import check_marks
from tests.integration.test_identity import TERMS
from tests.rig.fixtures import StartAlertmanager, StartFaultProxy, StartGateway, StartRedis

RECORDED = Path(__file__).parents[3] / "shared" / "fixtures" / "alertmanager-0.34-50-alerts.json"
IMMEDIATE = {"storm": {"rules": [{"matchers": ['alertname=~".+"'], "mode": "immediate"}]}}
"""Each alert has a request of its own, however many there are."""

Alert = dict[str, Any]


def fifty(namespace: str) -> list[Alert]:
    """Fifty alerts of one group, as Prometheus posts them: those of a recording where it is there, or alike."""
    if RECORDED.exists():
        recorded = json.loads(RECORDED.read_text())["alerts"]
        described = [(alert["labels"], alert["annotations"]) for alert in recorded]
    else:
        described = [
            (
                {"alertname": "DiskFull", "instance": f"node-{number:04}:9100", "job": "node"},
                {"summary": f"Disk on node-{number:04} is filling"},
            )
            for number in range(50)
        ]
    return [
        {"labels": {**labels, "namespace": namespace}, "annotations": texts} for labels, texts in described
    ]


def quick(forwarder: Forwarder) -> dict[str, Any]:
    """Groups of an alert name, told again only when something changes."""
    return webhook_config(
        forwarder.url,
        group_wait="500ms",
        group_interval="1s",
        repeat_interval="1h",
        webhook={"max_alerts": 0},
    )


def counted(cluster: Api, namespace: str) -> Counter[Labels]:
    """What the requests hold, by the labels of their alerts."""
    found: Counter[Labels] = Counter()
    for request in cluster.requests(namespace):
        found[key(request["spec"]["signalLabels"])] += count_of(request)
    return found


async def delivered(
    forwarder: Forwarder, cluster: Api, namespace: str, firing: list[Alert], *gateways: GatewayProcess
) -> None:
    """Wait until Alertmanager has told of exactly these alerts, and all it ever told is counted."""
    wanted = {key(alert["labels"]) for alert in firing}
    await eventually(lambda: forwarder.last_firing() == wanted, "the whole group", seconds=60, every=0.1)
    await settled(*gateways)
    await eventually(
        lambda: counted(cluster, namespace) == forwarder.occurrences(),
        f"the requests to hold what was delivered: {forwarder.statuses()}",
        seconds=30,
        every=0.2,
    )
    assert None not in forwarder.statuses(), "an answer was lost: what was counted cannot be known"
    check_marks(cluster.requests(namespace))


async def audit(
    alertmanager: Alertmanager, cluster: Api, namespace: str, *words: str, code: int = OK
) -> dict[str, Any]:
    """What `gateway audit --alertmanager` finds; nothing is pending, so that all is judged."""
    done = await asyncio.to_thread(
        gateway,
        *("audit", "--alertmanager", alertmanager.url, "--grace", "0s", "--output", "json"),
        *("--kubeconfig", str(cluster.kubeconfig), "--set", f"kubernetes.namespaces=[{namespace}]"),
        *words,
    )
    found: dict[str, Any] = printed(done, code)
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    """The verdict on each alert, by its label `case`."""
    return {alert["labels"]["case"]: alert["state"] for alert in found["alerts"]}


async def test_fifty_alerts_three_resolved_and_a_restart_are_counted_as_they_were_sent(
    start_gateway: StartGateway,
    start_alertmanager: StartAlertmanager,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    replica = start_gateway(redis=redis_server, cluster=cluster, settings=IMMEDIATE)
    alerts = fifty(namespace)
    over, rest = alerts[:3], alerts[3:]
    late = {"labels": {**alerts[0]["labels"], "instance": "node-late:9100"}, "annotations": {}}

    async with forwarding(replica.url) as forwarder:
        alertmanager = start_alertmanager(quick(forwarder))
        alertmanager.post_alerts(alerts)
        await delivered(forwarder, cluster, namespace, alerts, replica)
        assert len(cluster.requests(namespace)) == 50
        found = await audit(alertmanager, cluster, namespace, "--receiver", "webhook")
        assert (found["firing"], found["held"], found["stale"]) == (50, 50, [])

        before, told = counted(cluster, namespace), len(forwarder.taken)
        alertmanager.resolve_alerts(over)
        await delivered(forwarder, cluster, namespace, rest, replica)
        # Three alerts changed, and the whole group came again; only what still fires counts.
        again = forwarder.taken[told:]
        assert len(again[0].alerts) == 50
        grown = counted(cluster, namespace) - before
        assert grown == Counter(labels for delivery in again for labels in delivery.firing())
        assert set(grown) >= {key(alert["labels"]) for alert in rest}
        await check_resolved(forwarder, cluster, namespace, over)
        found = await audit(alertmanager, cluster, namespace)
        assert (found["firing"], found["held"]) == (47, 47)
        assert len(found["stale"]) == 3
        assert all(request["resolvedAt"] for request in found["stale"])

        # Alertmanager forgets its alerts when it ends, and Prometheus posts them again; with a new one among them
        # it tells the gateway of all.
        firing = [
            {"labels": alert["labels"], "annotations": alert["annotations"], "startsAt": alert["startsAt"]}
            for alert in alertmanager.alerts()
        ]
        assert len(firing) == 47
        await asyncio.to_thread(alertmanager.restart)
        alertmanager.post_alerts([*firing, late])
        await delivered(forwarder, cluster, namespace, [*rest, late], replica)
        found = await audit(alertmanager, cluster, namespace)
        assert (found["firing"], found["held"], len(found["stale"])) == (48, 48, 3)

        # What the gateway had and somebody took away is found.
        gone = found["alerts"][0]
        cluster.delete_request(namespace, gone["requests"][0].partition("/")[2])
        found = await audit(alertmanager, cluster, namespace, code=FINDING)
        assert (found["missing"], found["held"]) == (1, 47)
        assert found["alerts"][0]["fingerprint"] == gone["fingerprint"]

        check_metrics(replica, forwarder)


async def check_resolved(forwarder: Forwarder, cluster: Api, namespace: str, over: list[Alert]) -> None:
    """Exactly these requests say when their alert resolved, as Alertmanager said it."""
    told = {key(alert["labels"]): datetime.fromisoformat(alert["endsAt"]) for alert in forwarder.resolved()}
    assert set(told) == {key(alert["labels"]) for alert in over}

    def marks() -> dict[Labels, datetime]:
        return {
            key(request["spec"]["signalLabels"]): datetime.fromisoformat(at)
            for request in cluster.requests(namespace)
            if (at := resolved_at(request))
        }

    await eventually(lambda: len(marks()) == len(over), "the marks of resolution", every=0.1)
    assert marks() == told


def check_metrics(replica: GatewayProcess, forwarder: Forwarder) -> None:
    """The books of the gateway's metrics balance, and agree with what was delivered to it."""
    terms = {name: replica.metric(metric) for name, metric in TERMS.items()}
    fired = forwarder.occurrences()
    assert terms == {
        "created": len(fired),
        "deduplicated": fired.total() - len(fired),
        "resolved": len(forwarder.resolved()),
        "denied": 0,
        "invalid": 0,
    }
    received = sum(len(delivery.alerts) for delivery in forwarder.taken)
    assert replica.metric("gateway_alerts_received_total") == received == sum(terms.values())
    assert replica.metric("gateway_alerts_truncated_total") == 0


async def test_alerts_that_met_no_gateway_all_arrive_when_it_is_there(
    start_gateway: StartGateway,
    start_alertmanager: StartAlertmanager,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    replica = start_gateway(redis=redis_server, cluster=cluster, settings=IMMEDIATE, wait=None)
    alerts = fifty(namespace)

    async with forwarding(replica.url) as forwarder:
        alertmanager = start_alertmanager(quick(forwarder))
        alertmanager.post_alerts(alerts)
        await eventually(lambda: forwarder.statuses()[0] >= 3, "three attempts in vain", seconds=30)
        assert not forwarder.taken
        found = await audit(alertmanager, cluster, namespace, code=FINDING)
        assert (found["missing"], found["held"]) == (50, 0)

        await replica.start_async()
        await delivered(forwarder, cluster, namespace, alerts, replica)
        found = await audit(alertmanager, cluster, namespace)
        assert (found["missing"], found["held"]) == (0, 50)
        check_metrics(replica, forwarder)

        await asyncio.to_thread(replica.terminate)
        alertmanager.resolve_alerts(alerts[:1])
        in_vain = forwarder.statuses()[0]
        await eventually(lambda: forwarder.statuses()[0] > in_vain, "another attempt in vain", seconds=30)
        await replica.start_async()
        await delivered(forwarder, cluster, namespace, alerts[1:], replica)
        await check_resolved(forwarder, cluster, namespace, alerts[:1])


async def test_what_was_answered_503_is_sent_again_and_counted_once(
    start_gateway: StartGateway,
    start_alertmanager: StartAlertmanager,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
) -> None:
    redis, proxy = start_redis(), start_fault_proxy(cluster)
    replica = start_gateway(redis=redis, cluster=proxy, settings=IMMEDIATE)
    alerts = fifty(namespace)

    async with forwarding(replica.url) as forwarder:
        alertmanager = start_alertmanager(quick(forwarder))
        redis.kill()
        proxy.set_rules([Rule(Fault.UNAVAILABLE)])
        alertmanager.post_alerts(alerts)
        await eventually(lambda: forwarder.statuses()[503] >= 3, "three refusals", seconds=30)
        assert not forwarder.taken
        assert not cluster.requests(namespace)

        redis.restart()
        proxy.clear()
        await delivered(forwarder, cluster, namespace, alerts, replica)
        assert set(forwarder.statuses()) <= {503, 201, 202}
        found = await audit(alertmanager, cluster, namespace)
        assert (found["missing"], found["held"]) == (0, 50)
        check_metrics(replica, forwarder)


async def test_the_audit_knows_what_a_real_alertmanager_keeps_to_itself(
    start_alertmanager: StartAlertmanager, cluster: Api, namespace: str
) -> None:
    nobody = "http://127.0.0.1:1/"
    routes = [
        {"matchers": ['case="muted"'], "receiver": "webhook", "active_time_intervals": ["past"]},
        {"matchers": ['case="elsewhere"'], "receiver": "pager"},
    ]
    config = webhook_config(nobody, route={"routes": routes})
    config["receivers"].append({"name": "pager", "webhook_configs": [{"url": nobody}]})
    config["time_intervals"] = [{"name": "past", "time_intervals": [{"years": ["2000"]}]}]
    config["inhibit_rules"] = [{"source_matchers": ['case="plain"'], "target_matchers": ['case="inhibited"']}]
    cases = ("plain", "silenced", "inhibited", "muted", "elsewhere")
    alertmanager = start_alertmanager(config)
    now = datetime.now(UTC)
    silence = {
        "matchers": [{"name": "case", "value": "silenced", "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "test",
        "comment": "test",
    }
    ask_json("POST", f"{alertmanager.url}/api/v2/silences", silence)
    alertmanager.post_alerts(
        [{"labels": {"alertname": "Down", "namespace": namespace, "case": case}} for case in cases]
    )
    # Who silences and inhibits is found out when a group is told; who mutes, when the group exists.
    expected = dict.fromkeys(("silenced", "inhibited", "muted"), "suppressed")
    expected |= dict.fromkeys(("plain", "elsewhere"), "missing")

    async def as_expected() -> bool:
        return states(await audit(alertmanager, cluster, namespace, code=FINDING)) == expected

    await eventually(as_expected, "everybody's verdict", seconds=30)
    found = await audit(alertmanager, cluster, namespace, "--receiver", "pager", code=FINDING)
    assert states(found) == {"elsewhere": "missing"}
    kinds = ("--include", "silenced", "--include", "inhibited", "--include", "muted")
    found = await audit(alertmanager, cluster, namespace, *kinds, code=FINDING)
    assert set(states(found).values()) == {"missing"}
    found = await audit(alertmanager, cluster, namespace, "--grace", "1h")
    assert states(found) == {
        case: "suppressed" if state == "suppressed" else "pending" for case, state in expected.items()
    }
