"""Aggregated requests on a real kube-apiserver: what it stores of them, how large they may be, and what is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from chaos.rig.api import GROUP_PATH, Api
from chaos.rig.waiting import eventually
from gateway.errors import KubeAlreadyExists, KubeConflict, KubeNotFound, KubeUnavailable
from gateway.kube import objects, storms
from gateway.kube.client import Cluster
from gateway.kube.connection import Connection
from gateway.kube.index import Index
from gateway.kube.reflector import request_reflectors
from gateway.kube.stored import Stored
from gateway.kube.storms import Change, Newcomer, Storm
from gateway.model import RequestRef, Severity, Signal

AT = "2026-01-31T09:00:00.000000000Z"
LATER = "2026-01-31T09:01:00.000000000Z"
WINDOW = "w7f3"


@pytest.fixture
async def kube(cluster: Api) -> AsyncIterator[Cluster]:
    opened = Cluster(Connection(kubeconfig=str(cluster.kubeconfig)), terminal_phases=("Completed",))
    await opened.open()
    yield opened
    await opened.close()


def newcomer(n: int, namespace: str, labels: int = 30) -> Newcomer:
    """An alert with so many labels of 40 bytes each, two of which all alerts share."""
    texts = {"alertname": "PodCrashLooping", "namespace": namespace, "pod": f"api-{n:04}"}
    texts |= {f"label_{i:02}": f"{n}-{i}-".ljust(40, "x") for i in range(labels - len(texts))}
    return Newcomer(
        signal=Signal(
            fingerprint=digits(n, namespace),
            alertname="PodCrashLooping",
            namespace=namespace,
            group=f"{namespace}/PodCrashLooping",
            labels=texts,
            annotations={"summary": "it crashes"},
            severity=Severity.CRITICAL,
            environment="production",
            priority="P0",
            resource=f"{namespace}:Pod:api-{n:04}",
            starts_at=AT,
            received_at=AT,
        ),
        marks={f"{process(0)}.{n + 1}": "0-1"},
        occurrences=1,
    )


def digits(n: int, namespace: str) -> str:
    return sha256(f"{namespace} {n}".encode()).hexdigest()


def process(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()[:10]


async def created(kube: Cluster, namespace: str, newcomers: list[Newcomer]) -> Stored:
    return await kube.create(namespace, body_of(namespace, newcomers))


def body_of(namespace: str, newcomers: list[Newcomer]) -> bytes:
    return storms.create_body(
        window=f"{WINDOW}-{namespace}",
        namespace=namespace,
        name=objects.storm_name("PodCrashLooping", f"{WINDOW}-{namespace}"),
        source="storm",
        newcomers=newcomers,
        last_seen=AT,
    )


def counted(storm: Storm, number: int) -> dict[str, Change]:
    """What the process of that number adds: ten occurrences of each member."""
    return {
        member.fingerprint: Change(
            marks=member.marks | {f"{process(number)}.{10**6 + place}": "0-10"},
            occurrences=member.occurrences + 10,
        )
        for place, member in enumerate(storm.members)
    }


def path_of(ref: RequestRef) -> str:
    return f"{GROUP_PATH}/namespaces/{ref.namespace}/remediationrequests/{ref.name}"


def stored_object(cluster: Api, ref: RequestRef) -> dict[str, Any]:
    found: dict[str, Any] = cluster.call("GET", path_of(ref))
    return found


async def test_a_storm_is_stored_as_it_was_sent(kube: Cluster, cluster: Api, namespace: str) -> None:
    newcomers = [newcomer(n, namespace) for n in range(3)]
    stored = await created(kube, namespace, newcomers)
    # A field that the definition does not have would be gone.
    assert stored_object(cluster, stored.ref)["spec"] == json.loads(body_of(namespace, newcomers))["spec"]
    assert (stored.is_storm, stored.damaged, stored.count, stored.source) == (True, False, 3, "storm")
    assert stored.window == f"{WINDOW}-{namespace}"
    assert stored.members is not None
    assert [marks.applied for marks in stored.members.values()] == [n.marks for n in newcomers]
    assert await kube.get(stored.ref) == stored
    storm = await kube.storm(stored.ref)
    assert storm.stored == stored
    assert [storm.labels | member.labels for member in storm.members] == [n.signal.labels for n in newcomers]


async def test_a_thousand_members_of_thirty_labels_are_stored_and_counted_on_by_ten_processes(
    kube: Cluster, cluster: Api, namespace: str
) -> None:
    stored = await created(kube, namespace, [newcomer(n, namespace) for n in range(1000)])
    # Others write to it, too.
    notes = {"metadata": {"annotations": {"theirs": "x" * 50_000}}}
    cluster.call(
        "PATCH",
        path_of(stored.ref),
        notes,
        content_type="application/merge-patch+json",
    )
    for number in range(1, 10):
        storm = await kube.storm(stored.ref)
        stored = await kube.patch(
            stored.ref,
            storms.patch_body(storm, changes=counted(storm, number), newcomers=(), last_seen=LATER),
        )
    assert stored.count == 1000 * (1 + 9 * 10)
    assert stored.members is not None
    assert len(stored.members) == 1000
    assert {len(marks.applied) for marks in stored.members.values()} == {10}
    seen = stored_object(cluster, stored.ref)
    assert seen["metadata"]["annotations"]["theirs"] == notes["metadata"]["annotations"]["theirs"]
    assert seen["metadata"]["annotations"][objects.ANNOTATION_TRIMMED] == "true"
    assert (seen["spec"]["stormAlertCount"], len(seen["spec"]["affectedResources"])) == (1000, 1000)
    assert seen["spec"]["deduplication"]["lastSeen"] == LATER
    row = cluster.kubectl("get", "rr", "-n", namespace, "--no-headers").split()
    assert row[:7] == [stored.name, "PodCrashLooping", "critical", "P0", "true", "1000", "91000"]


async def test_the_largest_that_it_can_become_is_stored_with_room_for_others(
    kube: Cluster, cluster: Api, namespace: str
) -> None:
    def hardest(n: int) -> Newcomer:
        one = newcomer(n, namespace)
        texts = {f"common_{i:03}": "<" * 2000 for i in range(50)} | one.signal.labels
        large = msgspec.structs.replace(
            one.signal, labels=texts, annotations={"a": "&" * 100_000}, resource=f"{n:04}:Pod:" + "r" * 1000
        )
        return msgspec.structs.replace(one, signal=large, resolved_since=AT, resolved_at=LATER)

    stored = await created(kube, namespace, [hardest(n) for n in range(1000)])
    storm = await kube.storm(stored.ref)
    changes = {
        member.fingerprint: Change(
            marks=member.marks | {f"{process(p)}.{10**6 + place}": "0-1234" for p in range(1, 10)},
            occurrences=1 + 9 * 1234,
            resolved_since=AT,
            resolved_at=LATER,
        )
        for place, member in enumerate(storm.members)
    }
    stored = await kube.patch(
        stored.ref, storms.patch_body(storm, changes=changes, newcomers=(), last_seen=LATER)
    )
    assert stored.count == 1000 * (1 + 9 * 1234)
    cluster.set_phase(namespace, stored.name, "Analyzing")
    notes = {"metadata": {"annotations": {"theirs": "x" * 80_000}}}
    cluster.call("PATCH", path_of(stored.ref), notes, content_type="application/merge-patch+json")
    assert (await kube.get(stored.ref)).members == stored.members


async def test_buffers_of_a_hundred_join_one_after_the_other(kube: Cluster, namespace: str) -> None:
    everyone = [newcomer(n, namespace) for n in range(1000)]
    stored = await created(kube, namespace, everyone[:100])
    for start in range(100, 1000, 100):
        storm = await kube.storm(stored.ref)
        joining = everyone[start : start + 100]
        stored = await kube.patch(
            stored.ref, storms.patch_body(storm, changes={}, newcomers=joining, last_seen=LATER)
        )
    assert stored.count == 1000
    assert stored.members is not None
    assert list(stored.members) == [n.signal.fingerprint for n in everyone]


async def test_of_two_writers_who_read_the_same_version_one_is_told_to_read_again(
    kube: Cluster, namespace: str
) -> None:
    stored = await created(kube, namespace, [newcomer(0, namespace)])
    storm = await kube.storm(stored.ref)
    bodies = [
        storms.patch_body(storm, changes=counted(storm, number), newcomers=(), last_seen="")
        for number in (1, 2)
    ]
    await kube.patch(stored.ref, bodies[0])
    with pytest.raises(KubeConflict):
        await kube.patch(stored.ref, bodies[1])
    again = await kube.storm(stored.ref)
    last = await kube.patch(
        stored.ref, storms.patch_body(again, changes=counted(again, 2), newcomers=(), last_seen="")
    )
    assert last.count == 21


async def test_a_window_s_request_is_made_once_and_found_by_its_fingerprint(
    kube: Cluster, namespace: str
) -> None:
    stored = await created(kube, namespace, [newcomer(0, namespace)])
    with pytest.raises(KubeAlreadyExists):
        await created(kube, namespace, [newcomer(1, namespace)])
    heads = await kube.heads([objects.window_fingerprint(stored.window)], namespaces=[namespace])
    assert [(head.ref, head.uid) for head in heads] == [(stored.ref, stored.uid)]


async def test_what_is_not_there_or_no_storm_is_said_so(kube: Cluster, namespace: str) -> None:
    with pytest.raises(KubeNotFound):
        await kube.storm(RequestRef(namespace, "nothing"))
    one = newcomer(0, namespace).signal
    own = await kube.create(
        namespace,
        objects.create_body(
            one,
            namespace=namespace,
            name="rr-own",
            generation=1,
            applied="{}",
            count=1,
            first_seen=AT,
            last_seen=AT,
            source="recovery",
        ),
    )
    assert (own.source, own.members) == ("recovery", None)
    with pytest.raises(KubeUnavailable, match="aggregated"):
        await kube.storm(own.ref)


async def test_a_replica_that_only_watches_knows_every_member(
    kube: Cluster, cluster: Api, namespace: str
) -> None:
    watching = Cluster(
        Connection(kubeconfig=str(cluster.kubeconfig)), terminal_phases=("Completed",), namespaces=[namespace]
    )
    await watching.open()
    index = Index()
    told: list[str] = []
    index.subscribe(told.append)
    (reflector,) = request_reflectors(watching, index, clock=lambda: 0.0)
    task = asyncio.create_task(reflector.run())
    try:
        await eventually(lambda: reflector.current, "the watch stands")
        stored = await created(kube, namespace, [newcomer(n, namespace) for n in range(1000)])
        await eventually(lambda: len(index.holding(digits(999, namespace))) == 1, "the last member is known")
        assert index.window(stored.window) == stored
        del told[:]
        storm = await kube.storm(stored.ref)
        changes = {digits(7, namespace): counted(storm, 1)[digits(7, namespace)]}
        await kube.patch(stored.ref, storms.patch_body(storm, changes=changes, newcomers=(), last_seen=LATER))
        await eventually(lambda: len(told) >= 2, "the count is seen")
        assert set(told) == {stored.fingerprint, digits(7, namespace)}
        del told[:]
        cluster.set_phase(namespace, stored.name, "Completed")
        await eventually(lambda: len(told) >= 1001, "everyone hears that it closed")
        assert not any(request.open for request in index.holding(digits(0, namespace)))
        closed = await kube.get(stored.ref)
        await kube.delete(stored.ref, uid=closed.uid, resource_version=closed.resource_version)
        await eventually(lambda: index.window(stored.window) is None, "it is gone")
        (tomb,) = index.holding_tombs(digits(7, namespace))
        assert tomb.members is not None
        assert tomb.members[digits(7, namespace)].applied == changes[digits(7, namespace)].marks
        assert index.window_tomb(stored.window) == tomb
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await watching.close()
