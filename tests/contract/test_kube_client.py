"""The client, the reflectors and the request objects against a real kube-apiserver."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chaos.rig.api import GROUP_PATH, Api
from chaos.rig.cluster import Cluster as ControlPlane
from chaos.rig.cluster import user_access
from chaos.rig.waiting import eventually
from gateway.errors import (
    KubeAlreadyExists,
    KubeConflict,
    KubeExpired,
    KubeForbidden,
    KubeInvalid,
    KubeNamespaceMissing,
    KubeNotFound,
    KubeThrottled,
    KubeUnavailable,
)
from gateway.kube import client, objects
from gateway.kube.client import Cluster
from gateway.kube.connection import Call, Connection, Timeouts
from gateway.kube.decoding import Change, Event, RequestDecoder
from gateway.kube.index import Index
from gateway.kube.namespaces import Namespaces, namespace_reflector
from gateway.kube.observing import NullObserver, Verb
from gateway.kube.reflector import Pace, Reflector, request_reflectors
from gateway.kube.stored import Stored
from gateway.model import RequestRef, Severity, Signal
from gateway.resilience.breakers import Outcome

TERMINAL = ("Completed", "Failed")
AT = "2026-01-31T09:00:00.000000000Z"


class Calls(NullObserver):
    """Remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[Verb, int, str]] = []
        self.reloads = 0
        self.lists = 0

    def called(self, verb: Verb, code: int, seconds: float, error: str) -> None:
        self.seen.append((verb, code, error))

    def relisted(self, what: str) -> None:
        self.lists += 1

    def credentials_reloaded(self) -> None:
        self.reloads += 1


def digits(text: object) -> str:
    """A fingerprint of its own."""
    return sha256(str(text).encode()).hexdigest()


def signal(fingerprint: str = "a" * 64, **fields: Any) -> Signal:
    values: dict[str, Any] = {
        "fingerprint": fingerprint,
        "alertname": "PodOOMKilled",
        "namespace": "prod-api",
        "group": "prod-api/PodOOMKilled",
        "labels": {"alertname": "PodOOMKilled", "namespace": "prod-api", "pod": "api-0"},
        "annotations": {"summary": "out of memory"},
        "severity": Severity.CRITICAL,
        "environment": "production",
        "priority": "P0",
        "resource": "prod-api:Pod:api-0",
        "starts_at": AT,
        "received_at": AT,
        "raw": b'{"labels":{}}',
    }
    return Signal(**{**values, **fields})


def body_of(one: Signal, namespace: str, generation: int = 1, **fields: Any) -> bytes:
    name = objects.request_name(one.alertname, one.fingerprint, generation)
    values: dict[str, Any] = {"applied": '{"p.1":"0-1"}', "count": 1, "first_seen": AT, "last_seen": AT}
    values |= {"namespace": namespace, "name": name, "generation": generation}
    return objects.create_body(one, **{**values, **fields})


@asynccontextmanager
async def connected(api: Api | Path, observer: Calls | None = None, **fields: Any) -> AsyncIterator[Cluster]:
    kubeconfig = api if isinstance(api, Path) else api.kubeconfig
    line = Connection(kubeconfig=str(kubeconfig), observer=observer, timeouts=fields.pop("timeouts", None))
    cluster = Cluster(line, terminal_phases=TERMINAL, observer=observer, **fields)
    await cluster.open()
    try:
        yield cluster
    finally:
        await cluster.close()


@pytest.fixture
async def kube(cluster: Api) -> AsyncIterator[Cluster]:
    async with connected(cluster) as opened:
        yield opened


async def drained(events: AsyncGenerator[Event[Stored], None]) -> list[Event[Stored]]:
    """All events up to the end of the watch."""
    async with aclosing(events):
        return [event async for event in events]


@asynccontextmanager
async def running(*reflectors: Reflector[Any]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(reflector.run()) for reflector in reflectors]
    try:
        yield
        # A watch that is still being opened would be closed with a goodbye (TLS), for which nobody waits.
        await eventually(lambda: all(r.current or r.error for r in reflectors), "the watches to stand")
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


# --- one object's life


async def test_what_was_created_is_read_back_whole(kube: Cluster, namespace: str) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace, 3))
    assert created.ref == RequestRef(namespace, "rr-podoomkilled-aaaaaaaaaa-3")
    assert (created.fingerprint, created.generation, created.count, created.open) == ("a" * 64, 3, 1, True)
    assert (created.applied, created.signal_name, created.is_storm) == (
        '{"p.1":"0-1"}',
        "PodOOMKilled",
        False,
    )
    assert await kube.get(created.ref) == created


async def test_a_patch_counts_and_leaves_what_others_wrote(
    kube: Cluster, cluster: Api, namespace: str
) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests/{created.name}"
    cluster.call(
        "PATCH",
        path,
        {
            "metadata": {"annotations": {"other": "theirs"}},
            "spec": {"timeoutConfig": {"aiAnalysisTimeout": "1m"}},
        },
        content_type="application/merge-patch+json",
    )
    current = await kube.get(created.ref)
    patched = await kube.patch(
        created.ref,
        objects.patch_body(
            resource_version=current.resource_version,
            applied='{"p.1":"0-5"}',
            count=5,
            last_seen=AT.replace("09", "10"),
            resolved_at=AT,
            resolved_starts_at=AT,
        ),
    )
    assert (patched.count, patched.applied, patched.resolved_at) == (5, '{"p.1":"0-5"}', AT)
    stored = cluster.call("GET", path)
    assert stored["metadata"]["annotations"]["other"] == "theirs"
    assert stored["spec"]["timeoutConfig"] == {"aiAnalysisTimeout": "1m"}
    assert stored["spec"]["deduplication"]["firstSeen"] == AT
    cleared = await kube.patch(
        created.ref,
        objects.patch_body(
            resource_version=patched.resource_version, resolved_at=None, resolved_starts_at=None
        ),
    )
    assert (cleared.resolved_at, cleared.resolved_starts_at, cleared.count) == ("", "", 5)


async def test_a_patch_of_a_stale_version_is_a_conflict(kube: Cluster, namespace: str) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    patch = objects.patch_body(resource_version=created.resource_version, applied="{}", count=2)
    await kube.patch(created.ref, patch)
    with pytest.raises(KubeConflict):
        await kube.patch(created.ref, patch)


async def test_creating_twice_is_said_to_exist_already(kube: Cluster, namespace: str) -> None:
    body = body_of(signal(), namespace)
    await kube.create(namespace, body)
    with pytest.raises(KubeAlreadyExists):
        await kube.create(namespace, body)


async def test_what_is_not_there_is_not_found(kube: Cluster, namespace: str) -> None:
    ref = RequestRef(namespace, "none")
    with pytest.raises(KubeNotFound):
        await kube.get(ref)
    with pytest.raises(KubeNotFound):
        await kube.patch(ref, objects.patch_body(resource_version=1, applied="", count=1))
    with pytest.raises(KubeNotFound):
        await kube.delete(ref, uid="x", resource_version=1)


async def test_a_deletion_takes_only_the_object_that_was_meant(kube: Cluster, namespace: str) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    with pytest.raises(KubeConflict):
        await kube.delete(created.ref, uid="other", resource_version=created.resource_version)
    with pytest.raises(KubeConflict):
        await kube.delete(created.ref, uid=created.uid, resource_version=created.resource_version - 1)
    await kube.delete(created.ref, uid=created.uid, resource_version=created.resource_version)
    with pytest.raises(KubeNotFound):
        await kube.get(created.ref)


async def test_a_terminal_phase_closes_and_so_does_a_pending_deletion(
    kube: Cluster, cluster: Api, namespace: str
) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    cluster.set_phase(namespace, created.name, "Analyzing")
    assert (await kube.get(created.ref)).open
    cluster.set_phase(namespace, created.name, "Completed")
    closed = await kube.get(created.ref)
    assert (closed.open, closed.phase, closed.deleted) == (False, "Completed", False)
    cluster.set_phase(namespace, created.name, "Analyzing")
    path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests/{created.name}"
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    cluster.call("PATCH", path, held, content_type="application/merge-patch+json")
    cluster.call("DELETE", path)
    dying = await kube.get(created.ref)
    assert (dying.open, dying.deleted) == (False, True)
    released: dict[str, Any] = {"metadata": {"finalizers": None}}
    cluster.call("PATCH", path, released, content_type="application/merge-patch+json")


# --- refusals


async def test_a_missing_namespace_is_told_from_a_missing_object(kube: Cluster) -> None:
    with pytest.raises(KubeNamespaceMissing):
        await kube.create("no-such-namespace", body_of(signal(), "no-such-namespace"))


async def test_a_namespace_that_is_being_deleted_takes_nothing(kube: Cluster, cluster: Api) -> None:
    name = f"leaving-{time.monotonic_ns()}"
    cluster.create_namespace(name)
    cluster.call("DELETE", f"/api/v1/namespaces/{name}")  # nobody finalizes it here: it stays Terminating
    try:
        with pytest.raises(KubeNamespaceMissing):
            await kube.create(name, body_of(signal(), name))
    finally:
        cluster.remove_namespace(name)


async def test_an_object_against_the_schema_is_invalid(kube: Cluster, namespace: str) -> None:
    with pytest.raises(KubeInvalid, match="signalFingerprint"):
        await kube.create(namespace, body_of(signal("g" * 64), namespace))
    with pytest.raises(KubeInvalid):
        await kube.create(namespace, b"{}")
    with pytest.raises(KubeInvalid):
        await kube.create(namespace, b"not json")


async def test_a_fingerprint_never_changes(kube: Cluster, namespace: str) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    version = str(created.resource_version)
    patch = {"metadata": {"resourceVersion": version}, "spec": {"signalFingerprint": "b" * 64}}
    with pytest.raises(KubeInvalid, match="immutable"):
        await kube.patch(created.ref, json.dumps(patch).encode())


async def test_an_object_too_large_for_the_store_is_invalid(kube: Cluster, namespace: str) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    for size in (1_700_000, 2_500_000, 4_000_000):
        patch = {"spec": {"originalPayload": "A" * size}}
        with pytest.raises(KubeInvalid):
            await kube.patch(created.ref, json.dumps(patch).encode())


async def test_a_full_quota_asks_for_another_try(kube: Cluster, cluster: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    hard = {"count/remediationrequests.remediation.kubernaut.io": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    made = cluster.call("POST", path, quota)
    made["status"] = {"hard": hard, "used": hard}  # no controller does it here
    cluster.call("PUT", f"{path}/q/status", made)
    deadline = time.monotonic() + 15
    while True:  # the admission plugin follows quotas by a watch of its own
        one = signal(digits(time.monotonic_ns()))
        try:
            await kube.create(namespace, body_of(one, namespace))
        except KubeThrottled:
            break
        assert time.monotonic() < deadline, "the quota was never enforced"


async def test_without_permission_it_is_forbidden(cluster: Api, namespace: str) -> None:
    async with connected(user_access(cluster)) as kube:
        with pytest.raises(KubeForbidden) as error:
            await kube.create(namespace, body_of(signal(), namespace))
        assert error.value.status == 403


async def test_a_probe_passes_where_a_write_would_and_creates_nothing(
    kube: Cluster, cluster: Api, namespace: str
) -> None:
    for where in (namespace, "there-is-no-such-namespace"):
        assert (await kube.probe(where)).outcome is Outcome.SUCCESS
    assert cluster.requests(namespace) == []
    async with connected(user_access(cluster)) as forbidden:
        assert (await forbidden.probe(namespace)).outcome is Outcome.SUCCESS


async def test_unknown_credentials_are_loaded_again_once(
    cluster: Api, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    good = cluster.kubeconfig.read_text()
    kubeconfig.write_text(good.replace(cluster.token, "wrong"))
    calls = Calls()
    async with connected(kubeconfig, calls) as kube:
        with pytest.raises(KubeForbidden) as error:
            await kube.get(RequestRef(namespace, "none"))
        assert error.value.status == 401
        assert calls.reloads == 1
        assert len(calls.seen) == 2


async def test_rotated_credentials_are_taken_up_without_a_failure(
    cluster: Api, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    good = cluster.kubeconfig.read_text()
    kubeconfig.write_text(good.replace(cluster.token, "expired"))
    calls = Calls()
    async with connected(kubeconfig, calls) as kube:
        kubeconfig.write_text(good)
        results = await asyncio.gather(
            *(kube.create(namespace, body_of(signal(digits(n)), namespace)) for n in range(10))
        )
        assert len(results) == 10
        assert calls.reloads == 1


async def test_a_missing_definition_is_not_a_missing_object(control_plane: Api) -> None:
    line = Connection(kubeconfig=str(control_plane.kubeconfig))
    await line.open()
    try:
        with pytest.raises(KubeUnavailable) as error:
            await line.call(
                Call(Verb.GET, "GET", "/apis/remediation.kubernaut.io/v1alpha1/namespaces/x/no/y")
            )
        assert error.value.status == 404
        with pytest.raises(KubeUnavailable):
            await line.call(Call(Verb.GET, "GET", "/apis/no.such.group/v1/things"))
    finally:
        await line.close()


async def test_nobody_listening_is_unavailable(tmp_path: Path, cluster: Api) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text().replace(cluster.url, "https://127.0.0.1:1"))
    async with connected(kubeconfig) as kube:
        with pytest.raises(KubeUnavailable) as error:
            await kube.get(RequestRef("x", "y"))
        assert error.value.status == 0


async def test_an_unknown_authority_is_unavailable(tmp_path: Path, cluster: Api) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    lines = cluster.kubeconfig.read_text().splitlines()
    kubeconfig.write_text("\n".join(line for line in lines if "certificate-authority" not in line))
    async with connected(kubeconfig) as kube:
        with pytest.raises(KubeUnavailable, match="certificate"):
            await kube.get(RequestRef("x", "y"))


# --- lists and watches


async def test_heads_show_what_exists_for_the_fingerprints_asked(kube: Cluster, namespace: str) -> None:
    wanted = [digits((namespace, n)) for n in range(3)]
    made = [
        await kube.create(namespace, body_of(signal(fingerprint), namespace, generation))
        for fingerprint in wanted
        for generation in (1, 2)
    ]
    heads = await kube.heads(wanted[:2])
    assert {(h.ref, h.uid, h.resource_version, h.generation, h.fingerprint) for h in heads} == {
        (s.ref, s.uid, s.resource_version, s.generation, s.fingerprint[:63]) for s in made[:4]
    }
    assert await kube.heads([]) == []
    assert len(await kube.heads(wanted, namespaces=[namespace])) == 6
    assert await kube.heads(wanted, namespaces=["default"]) == []


async def test_heads_of_many_fingerprints_take_several_calls(
    cluster: Api, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "HEADS_PER_CALL", 2)
    calls = Calls()
    async with connected(cluster, calls, namespaces=[namespace]) as kube:
        wanted = [digits((namespace, n)) for n in range(5)]
        for fingerprint in wanted:
            await kube.create(namespace, body_of(signal(fingerprint), namespace))
        del calls.seen[:]
        assert len(await kube.heads(wanted)) == 5
        assert {verb for verb, _, _ in calls.seen} == {Verb.LIST}
        assert len(calls.seen) == 3


async def test_pages_show_one_moment(kube: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 2)
    made = [await kube.create(namespace, body_of(signal(digits(n)), namespace)) for n in range(5)]
    seen: list[Stored] = []
    versions = set()
    async with aclosing(kube.pages(namespace)) as pages:
        async for page in pages:
            versions.add(page.resource_version)
            seen += page.items
            if len(seen) == 2:
                last = made[-1]
                await kube.delete(last.ref, uid=last.uid, resource_version=last.resource_version)
    assert sorted(s.name for s in seen) == sorted(s.name for s in made)
    assert len(versions) == 1


async def test_a_watch_shows_what_changed_and_the_last_state_of_what_went(
    kube: Cluster, namespace: str
) -> None:
    first = await kube.create(namespace, body_of(signal(), namespace))
    async with aclosing(kube.watch(namespace, first.resource_version, seconds=20, inactivity=20)) as events:
        patch = objects.patch_body(resource_version=first.resource_version, applied="{}", count=7)
        patched = await kube.patch(first.ref, patch)
        second = await kube.create(namespace, body_of(signal("b" * 64), namespace))
        await kube.delete(first.ref, uid=first.uid, resource_version=patched.resource_version)
        seen = [await anext(events) for _ in range(4)]
    opened, *changed = seen
    assert (opened.change, opened.resource_version) == (Change.BOOKMARK, first.resource_version)
    assert [event.change for event in changed] == [Change.MODIFIED, Change.ADDED, Change.DELETED]
    assert [event.item for event in changed[:2]] == [patched, second]
    last = changed[2].item
    assert last is not None
    assert (last.uid, last.count) == (first.uid, 7)
    assert last.resource_version > second.resource_version


async def test_a_watch_ends_in_its_time(kube: Cluster, namespace: str) -> None:
    first = await kube.create(namespace, body_of(signal(), namespace))
    seen = await drained(kube.watch(namespace, first.resource_version, seconds=1, inactivity=20))
    assert {event.change for event in seen} == {Change.BOOKMARK}


async def test_a_silent_watch_is_given_up(kube: Cluster, namespace: str) -> None:
    first = await kube.create(namespace, body_of(signal(), namespace))
    with pytest.raises(KubeUnavailable):
        await drained(kube.watch(namespace, first.resource_version, seconds=60, inactivity=0.3))


async def test_a_watch_from_long_ago_has_expired(kube: Cluster, namespace: str) -> None:
    await kube.create(namespace, body_of(signal(), namespace))
    with pytest.raises(KubeExpired):
        await drained(kube.watch(namespace, 1, seconds=5, inactivity=20))


async def test_events_of_almost_two_megabytes_arrive(kube: Cluster, cluster: Api, namespace: str) -> None:
    first = await kube.create(namespace, body_of(signal(), namespace))
    async with aclosing(kube.watch(namespace, first.resource_version, seconds=20, inactivity=20)) as events:
        large = {"spec": {"signalAnnotations": {"large": "x" * 1_400_000}}}
        await kube.patch(first.ref, json.dumps(large).encode())
        _, event = await anext(events), await anext(events)
        assert event.item is not None
        assert event.item.uid == first.uid


# --- reflectors


async def test_the_index_follows_the_cluster(kube: Cluster, cluster: Api, namespace: str) -> None:
    index = Index()
    relisted: list[int] = []
    (reflector,) = request_reflectors(
        kube, index, clock=time.monotonic, on_relist=lambda: relisted.append(len(index))
    )
    before = await kube.create(namespace, body_of(signal(), namespace))
    async with running(reflector):
        async with asyncio.timeout(10):
            await reflector.synced.wait()
        assert index.get(before.ref) == before
        assert len(relisted) == 1
        after = await kube.create(namespace, body_of(signal("b" * 64), namespace))
        await eventually(lambda: index.get(after.ref) == after, "the copy to follow", seconds=15)
        assert reflector.current
        cluster.set_phase(namespace, before.name, "Failed")
        await eventually(
            lambda: getattr(index.get(before.ref), "open", True) is False, "the copy to follow", seconds=15
        )
        cluster.delete_request(namespace, before.name)
        await eventually(lambda: index.get(before.ref) is None, "the copy to follow", seconds=15)
        assert before.uid in [tomb.uid for tomb in index.tombs("a" * 64)]
    assert not reflector.current


async def test_with_namespaces_each_is_followed_and_nothing_else(cluster: Api, namespace: str) -> None:
    other = f"{namespace}-b"
    cluster.create_namespace(other)
    try:
        async with connected(cluster, namespaces=[namespace, other]) as kube:
            assert kube.covers(other)
            assert not kube.covers("default")
            index = Index()
            reflectors = request_reflectors(kube, index, clock=time.monotonic)
            async with running(*reflectors):
                async with asyncio.timeout(10):
                    for reflector in reflectors:
                        await reflector.synced.wait()
                made = [
                    await kube.create(space, body_of(signal(), space))
                    for space in (namespace, other, "default")
                ]
                await eventually(lambda: len(index) == 2, "the copy to follow", seconds=15)
                assert {s.ref for s in index} == {s.ref for s in made[:2]}
            cluster.delete_request("default", made[2].name)
    finally:
        cluster.remove_namespace(other)


async def test_namespaces_and_their_environments_are_known(kube: Cluster, cluster: Api) -> None:
    spaces = Namespaces()
    name = f"labelled-{time.monotonic_ns()}"
    cluster.create_namespace(name, {"environment": "production"})
    reflector = namespace_reflector(kube, spaces)
    assert spaces.exists(name) is None
    async with running(reflector):
        async with asyncio.timeout(10):
            await reflector.synced.wait()
        assert (spaces.exists(name), spaces.environment(name)) == (True, "production")
        assert (spaces.exists("none"), spaces.environment("none")) == (False, None)
        patch = {"metadata": {"labels": {"environment": "staging"}}}
        cluster.call(
            "PATCH", f"/api/v1/namespaces/{name}", patch, content_type="application/merge-patch+json"
        )
        await eventually(lambda: spaces.environment(name) == "staging", "the copy to follow", seconds=15)
        cluster.call("DELETE", f"/api/v1/namespaces/{name}")
        await eventually(lambda: spaces.exists(name) is False, "the copy to follow", seconds=15)
        cluster.remove_namespace(name)


async def test_without_permission_namespaces_stay_unknown_and_it_is_said(cluster: Api) -> None:
    async with connected(user_access(cluster)) as kube:
        spaces = Namespaces()
        reflector = namespace_reflector(kube, spaces, pace=Pace(first_wait=0.01, longest_wait=0.05))
        async with running(reflector):
            await eventually(lambda: "403" in reflector.error, "the copy to follow", seconds=15)
            assert spaces.exists("default") is None
            assert not reflector.synced.is_set()


async def test_an_outage_is_survived_and_what_changed_meanwhile_is_seen(
    start_cluster: Callable[[], ControlPlane],
) -> None:
    plane = await asyncio.to_thread(start_cluster)
    calls = Calls()
    async with connected(plane.api, calls, timeouts=Timeouts(connect=1, page=5)) as kube:
        index = Index()
        (reflector,) = request_reflectors(kube, index, clock=time.monotonic, observer=calls)
        kept = await kube.create("default", body_of(signal(), "default"))
        gone = await kube.create("default", body_of(signal("b" * 64), "default"))
        async with running(reflector):
            async with asyncio.timeout(10):
                await reflector.synced.wait()
            await asyncio.to_thread(plane.server.kill)
            await eventually(
                lambda: bool(reflector.error) and not reflector.current, "the copy to follow", seconds=15
            )
            with pytest.raises(KubeUnavailable):
                await kube.get(kept.ref)
            assert index.get(gone.ref) is not None
            await asyncio.to_thread(plane.restart_server)
            plane.api.delete_request("default", gone.name)
            back = time.monotonic()
            made = await kube.create("default", body_of(signal("c" * 64), "default"))
            await eventually(
                lambda: index.get(gone.ref) is None and index.get(made.ref) is not None,
                "the copy to follow",
                seconds=15,
            )
            assert time.monotonic() - back < 15
            assert [t.uid for t in index.tombs("b" * 64)] == [gone.uid]
            # A list showed it all; the watch after it comes a moment later.
            await eventually(lambda: reflector.current, "the watch to stand", seconds=15)
            assert not reflector.error


# --- objects


_NASTY = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from(
            ["\x00", "\u202e", "\ufeff", "<", "&", "\u2028", "\x7f", "\U0001f4a5", '"', "\\", "/"]
        ),
    ),
    max_size=40,
)
_SIZED = st.builds(lambda text, times: text * times, _NASTY, st.sampled_from([1, 1, 1, 300, 1700]))


@st.composite
def nasty_signals(draw: st.DrawFn) -> Signal:
    labels = draw(st.dictionaries(_NASTY.filter(bool), _SIZED, max_size=6))
    alertname = draw(_SIZED.filter(bool))
    return signal(
        draw(st.binary(min_size=32, max_size=32)).hex(),
        alertname=alertname,
        namespace=draw(_NASTY),
        labels={"alertname": alertname, **labels},
        annotations=draw(st.dictionaries(_NASTY, _SIZED, max_size=6)),
        severity=draw(st.sampled_from(Severity)),
        environment=draw(_SIZED),
        priority=draw(st.sampled_from(["P0", "P3", "", "P9"])),
        resource=draw(st.one_of(st.just(""), st.builds("{}:Pod:{}".format, _NASTY, _SIZED))),
        raw=draw(st.binary(max_size=200)),
    )


async def accepted(kube: Cluster, namespace: str, one: Signal) -> Stored:
    """Creates it with strict validation, so that a field that the CRD does not know is a fault, too."""
    line = kube._connection
    call = Call(
        Verb.CREATE,
        "POST",
        client._path(namespace),
        {"fieldValidation": "Strict"},
        body_of(one, namespace),
    )
    stored = RequestDecoder(TERMINAL)(await line.call(call))
    assert stored.fingerprint == one.fingerprint
    assert stored.generation == 1
    await kube.delete(stored.ref, uid=stored.uid, resource_version=stored.resource_version)
    return stored


def test_whatever_an_alert_holds_its_object_is_accepted(cluster: Api, namespace: str) -> None:
    loop = asyncio.new_event_loop()
    opened = connected(cluster)
    kube = loop.run_until_complete(opened.__aenter__())

    @settings(
        max_examples=100,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.large_base_example,
            HealthCheck.data_too_large,
        ],
    )
    @given(nasty_signals())
    def check(one: Signal) -> None:
        loop.run_until_complete(accepted(kube, namespace, one))

    try:
        check()
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        ({"a": "\x00" * 500_000}, {}),
        ({"a": "<" * 250_000}, {"b": "&" * 250_000}),
        ({f"l{n}": "v" for n in range(5000)}, {}),
        ({f"<{n}>": "" for n in range(60_000)}, {}),
        ({"<" * 250_000: "v"}, {"&" * 250_000: "v"}),
        ({"a": "\U0001f4a5" * 120_000}, {"\u2028": "\u2028" * 60_000}),
        ({}, {f"k{n}": "\x01" * 64 for n in range(6000)}),
    ],
    ids=["NUL", "escaped", "many", "very many", "keys", "emoji", "annotations"],
)
async def test_alerts_at_the_limit_are_trimmed_to_what_can_be_stored(
    kube: Cluster, namespace: str, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    one = signal(
        labels={"alertname": "A", "namespace": "n", **labels}, annotations=annotations, raw=b"x" * 65_536
    )
    # With marks as long as they may become.
    marks = "x" * 200_000
    created = await kube.create(namespace, body_of(one, namespace, applied=marks))
    assert created.applied == marks


async def test_kubectl_shows_the_columns(kube: Cluster, cluster: Api, namespace: str) -> None:
    created = await kube.create(namespace, body_of(signal(), namespace))
    cluster.set_phase(namespace, created.name, "Analyzing")
    head, row = cluster.kubectl("get", "rr", "-n", namespace).splitlines()
    assert head.split() == [
        "NAME",
        "SIGNAL",
        "SEVERITY",
        "PRIORITY",
        "STORM",
        "ALERTS",
        "OCCURRENCES",
        "PHASE",
        "AGE",
    ]
    assert row.split()[:5] == [created.name, "PodOOMKilled", "critical", "P0", "false"]
    assert row.split()[-3:-1] == ["1", "Analyzing"]
