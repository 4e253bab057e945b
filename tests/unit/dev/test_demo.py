"""The embedded cluster, and the demo played to a gateway that only writes down what it hears."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.dev import demo
from gateway.dev.cluster import DEMO_NAMESPACES, EmbeddedCluster
from gateway.dev.kubernetes.kinds import MERGE, NAMESPACES

NOW = datetime(2027, 5, 6, 7, 8, 9, tzinfo=UTC)


class Listener:
    """Takes webhooks as a gateway would; `code` is what it answers."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.agents: set[str] = set()
        self.code = 202
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.heard.append(body)
        self.agents.add(request.headers["User-Agent"])
        alerts = [{"outcome": "duplicate"} for _ in body["alerts"]]
        return web.json_response({"status": "accepted", "alerts": alerts}, status=self.code)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    taking = Listener()
    application = web.Application()
    application.router.add_post(demo.WEBHOOK, taking.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taking.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield taking
    await runner.cleanup()


def test_the_recording_is_a_believable_incident() -> None:
    steps = list(demo.steps(NOW))
    alerts = [alert for step in steps for alert in step.body["alerts"]]
    assert all(step.body["version"] == "4" and step.title for step in steps)
    assert {"PodOOMKilled", "KubePodCrashLooping", "NodeNotReady"} <= {
        a["labels"]["alertname"] for a in alerts
    }
    assert {alert["status"] for alert in alerts} == {"firing", "resolved"}
    namespaces = {alert["labels"].get("namespace") for alert in alerts}
    assert None in namespaces  # one alert names none
    assert namespaces - {None} <= set(DEMO_NAMESPACES)
    problems = {json.dumps(alert["labels"], sort_keys=True) for alert in alerts}
    assert len(problems) < len(alerts)
    assert all(alert["labels"] == {k: str(v) for k, v in alert["labels"].items()} for alert in alerts)


def test_its_times_are_moved_to_now_and_keep_their_distances() -> None:
    early, late = list(demo.steps(NOW)), list(demo.steps(NOW + timedelta(hours=1)))
    for before, after in zip(early, late, strict=True):
        for first, second in zip(before.body["alerts"], after.body["alerts"], strict=True):
            start = datetime.fromisoformat(first["startsAt"])
            assert NOW - timedelta(minutes=10) < start <= NOW
            assert datetime.fromisoformat(second["startsAt"]) - start == timedelta(hours=1)
            if first["status"] == "firing":
                assert first["endsAt"] == "0001-01-01T00:00:00Z"
            else:
                assert start < datetime.fromisoformat(first["endsAt"]) <= NOW


async def test_all_is_posted_in_order_as_alertmanager_would(listener: Listener) -> None:
    seen: list[demo.Delivery] = []
    deliveries = await demo.play(listener.url, now=NOW, on_delivery=seen.append)
    assert [step.body for step in demo.steps(NOW)] == listener.heard
    assert seen == deliveries
    assert {(d.status, set(d.outcomes) == {"duplicate"}) for d in deliveries} == {(202, True)}
    assert [d.alerts for d in deliveries] == [len(body["alerts"]) for body in listener.heard]
    assert listener.agents == {"Alertmanager/demo"}


def test_the_storm_is_many_problems_of_one_group_and_begins_slowly() -> None:
    steps = list(demo.steps(NOW, "storm"))
    labels = [alert["labels"] for step in steps for alert in step.body["alerts"]]
    assert len({one["pod"] for one in labels}) == len(labels) == 40
    assert len({(one["namespace"], one["alertname"]) for one in labels}) == 1
    assert {one["namespace"] for one in labels} <= set(DEMO_NAMESPACES)
    # Whoever looks every 100 ms sees the window below its threshold, and nobody waits long for all of it.
    assert steps[0].after == 0
    assert steps[2].after > 0.5
    assert 1 < steps[-1].after < 3


async def test_paced_it_takes_as_long_as_when_it_was_recorded(listener: Listener) -> None:
    began = time.monotonic()
    await demo.play(listener.url, "storm", paced=True)
    assert time.monotonic() - began > list(demo.steps(NOW, "storm"))[-1].after
    assert len(listener.heard) == 40


async def test_a_gateway_that_refuses_or_is_not_there_is_reported(listener: Listener) -> None:
    listener.code = 503
    with pytest.raises(demo.DemoFailed, match="503"):
        await demo.play(listener.url)
    with pytest.raises(demo.DemoFailed, match="does not answer"):
        await demo.play("http://127.0.0.1:1")


def a_request(name: str, priority: str, **more: Any) -> dict[str, Any]:
    seen = "2027-05-06T07:00:00Z"
    return {
        "apiVersion": "remediation.kubernaut.io/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {"name": name, **more},
        "spec": {
            "signalFingerprint": "a" * 64,
            "signalName": "DiskFull",
            "severity": "warning",
            "environment": "production",
            "priority": priority,
            "signalType": "prometheus",
            "targetType": "kubernetes",
            "firingTime": seen,
            "receivedTime": seen,
            "deduplication": {"isDuplicate": True, "firstSeen": seen, "lastSeen": seen, "occurrenceCount": 4},
        },
    }


async def test_the_cluster_comes_with_namespaces_and_the_table_reads_it_back(tmp_path: Path) -> None:
    async with EmbeddedCluster() as cluster:
        api = cluster.kubernetes.api
        kubeconfig, folder = cluster.kubeconfig, cluster.kubeconfig.parent
        assert cluster.redis_url.startswith("redis://127.0.0.1:")
        environments = {s.name: s.labels.get("environment", "") for s in _namespaces(cluster)}
        assert environments.items() >= DEMO_NAMESPACES.items()
        kind = api.find("remediation.kubernaut.io", "v1alpha1", "remediationrequests")
        assert kind is not None
        assert await demo.table(kubeconfig) == []
        mark = {"remediation.kubernaut.io/signal-resolved-at": "2027-05-06T07:08:00Z"}
        api.create(kind, "staging", a_request("late", "P2", annotations=mark))
        api.create(kind, "prod-api", a_request("soon", "P0"))
        api.patch(kind, "prod-api", "soon", MERGE, {"status": {"overallPhase": "Executing"}}, status=True)
        many = a_request("storm", "P3")
        many["spec"] |= {"isStorm": True, "stormAlertCount": 40}
        api.create(kind, "dev", many)
        first, second, third = await demo.table(kubeconfig)
    assert (first.namespace, first.name, first.priority, first.phase) == (
        "prod-api",
        "soon",
        "P0",
        "Executing",
    )
    assert (second.name, second.signal, second.severity, second.occurrences) == (
        "late",
        "DiskFull",
        "warning",
        4,
    )
    assert (first.resolved, second.resolved, second.phase, second.storm) == (False, True, "", False)
    assert (first.problems, third.problems, third.storm) == (1, 40, True)
    assert 0 <= first.age < 60
    assert not folder.exists()
    with pytest.raises(demo.DemoFailed, match="does not answer"):
        await demo.table(cluster.kubernetes.write_kubeconfig(tmp_path / "kubeconfig"))


def _namespaces(cluster: EmbeddedCluster) -> Any:
    return cluster.kubernetes.api.list(NAMESPACES, "").items


async def test_the_table_is_of_embedded_clusters_only(tmp_path: Path) -> None:
    other = tmp_path / "kubeconfig"
    other.write_text("clusters: [{name: a, cluster: {server: 'https://cluster.example.com'}}]")
    with pytest.raises(demo.DemoFailed, match="not lead to an embedded cluster"):
        await demo.table(other)
