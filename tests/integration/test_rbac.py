"""The roles of `deploy/`: enough for everything that the gateway does, and every permission in them is needed."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.rig.api import MERGE_PATCH, Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from gateway.cli.doctor import kubernetes
from gateway.config.settings import Kubernetes
from gateway.resilience.diagnosis import Diagnosis, Grade
from tests.integration.accounts import Account, verbs
from tests.integration.rivals import RESOURCES, rival_writer
from tests.integration.senders import Senders
from tests.integration.sight import (
    UNHURRIED,
    adds_up,
    count_of,
    fires,
    generation,
    predecessor,
    send,
    send_one,
    settled,
)
from tests.integration.test_access import post
from tests.integration.test_kubernetes_access import component
from tests.rig.fixtures import StartGateway

REQUESTS = "remediationrequests"
SUCCESS = {"create": "201"}
CALLS = "gateway_k8s_api_requests_total"


@pytest.fixture
def account(cluster: Api, namespace: str, tmp_path: Path) -> Iterator[Account]:
    made = Account(cluster, namespace, tmp_path)
    yield made
    made.remove()


async def listed(api: Api, namespace: str) -> None:
    await eventually(
        lambda: api.send("GET", RESOURCES.format(namespace))[0] == 200, "the roles to be in force"
    )


async def in_force(api: Api, namespace: str, namespaces: tuple[str, ...]) -> None:
    """Every role, each of which the API server takes notice of by itself."""
    await listed(api, namespace)
    async with asyncio.timeout(60):
        while await examined(api, namespaces):
            pass


async def examined(api: Api, namespaces: tuple[str, ...] = ()) -> str:
    """What the doctor finds wanting about permissions; empty where nothing is."""
    settings = Kubernetes(kubeconfig=str(api.kubeconfig), namespaces=namespaces)
    found: list[Diagnosis] = []
    async with asyncio.timeout(30):  # an API server that stands still for a moment is not asked everything
        while not {one.check for one in found} >= {"permissions", "namespaces", "writes"}:
            found = await kubernetes.examine(settings)
    return "; ".join(
        one.found
        for one in found
        if one.check in ("permissions", "namespaces", "events") and one.grade is not Grade.OK
    )


@pytest.mark.parametrize("file", ["rbac.yaml", "rbac-namespaces.yaml"])
async def test_a_gateway_with_these_roles_and_no_more_does_everything_and_uses_each_permission(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    account: Account,
    file: str,
) -> None:
    some = (namespace,) if file == "rbac-namespaces.yaml" else ()
    account.grant(file)
    api = account.api()
    await in_force(api, namespace, some)
    storm = {
        "hold": "1s",
        "inactivity": "1s",
        "max_window": "3s",
        "rules": [{"matchers": ['alertname!="Stormy"'], "mode": "immediate"}],
    }
    settings = {
        **UNHURRIED,
        "kubernetes": {"namespaces": list(some)},
        "storm": storm,
        "dedup": {"write_interval": "100ms"},  # many writes, so that one meets a conflict soon
    }
    gateway = start_gateway(redis=redis_server, cluster=api, settings=settings)

    await a_label_gives_the_environment(gateway, cluster, namespace)
    await what_others_changed_is_read_again(gateway, cluster, namespace)
    await two_requests_for_one_problem_become_one(gateway, cluster, namespace)
    await a_closed_request_has_a_successor(gateway, cluster, namespace)
    await a_storm_is_one_request(gateway, cluster, namespace)
    await settled(gateway)

    missing = component(gateway, "permissions")
    assert missing == {"ok": True, "detail": ""}
    assert gateway.metric(CALLS, code="403") == 0
    assert gateway.metric("gateway_dead_letters_total") == 0
    granted = verbs(file, REQUESTS)
    unused = [verb for verb in granted if not gateway.metric(CALLS, verb=verb, code=SUCCESS.get(verb, "200"))]
    assert unused == []
    await eventually(
        lambda: gateway.metric("gateway_k8s_events_total", result="written") > 0, "an event to be written"
    )
    assert gateway.metric("gateway_k8s_events_total", result="forbidden") == 0
    assert await examined(api, some) == ""


async def a_label_gives_the_environment(gateway: GatewayProcess, cluster: Api, namespace: str) -> None:
    """Namespaces are listed and watched."""
    await eventually(lambda: '"namespaces"' in gateway.log(), "the namespaces to be listed")
    labels = {"metadata": {"labels": {"environment": "staging"}}}
    cluster.call("PATCH", f"/api/v1/namespaces/{namespace}", labels, content_type=MERGE_PATCH)

    def seen() -> bool:
        number = len(cluster.requests(namespace))
        send_one(gateway, fires(namespace, f"first-{number}"))
        return any(one["spec"]["environment"] == "staging" for one in cluster.requests(namespace))

    await eventually(seen, "the environment of the namespace's label", every=0.3)
    await settled(gateway)
    for one in cluster.requests(namespace):
        cluster.delete_request(namespace, one["metadata"]["name"])


async def what_others_changed_is_read_again(gateway: GatewayProcess, cluster: Api, namespace: str) -> None:
    """Create, patch, and get after a conflict."""
    sent = 0
    with rival_writer(cluster, namespace):

        def met() -> bool:
            nonlocal sent
            send_one(gateway, fires(namespace, "contested"))
            sent += 1
            return gateway.metric(CALLS, verb="get", code="200") > 0

        await eventually(met, "a conflict", seconds=40, every=0.2)
    await adds_up(cluster, namespace, [sent])


async def two_requests_for_one_problem_become_one(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    """Delete, as after a race that the names could not prevent: somebody made a later request with the same marks."""
    await settled(gateway)
    for number in range(2, 30):
        (first,) = cluster.requests(namespace)
        second = copy.deepcopy(first)
        meta = second["metadata"]
        second["metadata"] = {key: meta[key] for key in ("labels", "annotations")}
        second["metadata"]["name"] = f"{meta['name'].rpartition('-')[0]}-{number}"
        second["metadata"]["labels"]["remediation.kubernaut.io/generation"] = str(number)
        cluster.call("POST", RESOURCES.format(namespace), second)
        await eventually(
            lambda number=number: [generation(one) for one in cluster.requests(namespace)] == [number],
            "the first one to give up and go",
            seconds=30,
            every=0.2,
        )
        if gateway.metric(CALLS, verb="delete", code="200"):
            return  # else a gateway of another test, which sees this namespace too, was quicker
    raise AssertionError("others were always quicker")


async def a_closed_request_has_a_successor(gateway: GatewayProcess, cluster: Api, namespace: str) -> None:
    (open_one,) = cluster.requests(namespace)
    name = open_one["metadata"]["name"]
    cluster.set_phase(namespace, name, "Completed")
    await eventually(
        lambda: (
            send_one(gateway, fires(namespace, "contested"))
            and any(predecessor(one) == name for one in cluster.requests(namespace))
        ),
        "a successor that names it",
        every=0.3,
    )


async def a_storm_is_one_request(gateway: GatewayProcess, cluster: Api, namespace: str) -> None:
    status, _ = send(gateway, *(fires(namespace, f"pod-{number}", name="Stormy") for number in range(4)))
    assert status == 202

    def count() -> int:
        found = cluster.requests(namespace, selector="remediation.kubernaut.io/storm=true")
        assert len(found) <= 1
        return sum(count_of(one) for one in found)

    await eventually(lambda: count() == 4, "the aggregated request", seconds=20)
    send_one(gateway, fires(namespace, "pod-1", name="Stormy"))
    await eventually(lambda: count() == 5, "the member to count", seconds=20)


async def test_without_any_one_of_the_permissions_the_doctor_names_it(
    cluster: Api, namespace: str, account: Account
) -> None:
    file = "rbac.yaml"
    account.grant(file)
    api = account.api()
    await listed(api, namespace)
    assert await examined(api) == ""
    every = [
        (resource, verb) for resource in (REQUESTS, "namespaces", "events") for verb in verbs(file, resource)
    ]
    assert len(every) == 9
    for resource, verb in every:
        account.take_away(resource, verb)
        found = ""
        async with asyncio.timeout(60):  # the API server takes notice after a moment
            while f"may not {verb} {resource}" not in found:
                found = await examined(api)
            account.restore()
            while found:
                found = await examined(api)


async def test_tokens_are_reviewed_with_the_optional_role_and_not_without(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    account: Account,
    tmp_path: Path,
) -> None:
    account.grant("rbac.yaml")
    api = account.api()
    await listed(api, namespace)
    senders = Senders(tmp_path, cluster, namespace)
    settings = senders.settings("tokenreview")
    path = f"/gateway/{namespace}"
    settings["auth"]["tokenreview"] |= {"access": {"verb": "post", "path": path}, "cache": "100ms"}
    gateway = start_gateway(redis=redis_server, cluster=api, settings=settings)
    shown = senders.good("tokenreview")

    def answer() -> int:
        return post(gateway, shown, fires(namespace))

    assert answer() == 503
    account.grant("rbac-tokenreview.yaml")
    # Both reviews are made, and the second one says that the cluster's rules do not let this account post.
    await eventually(lambda: answer() == 403, "the role to be in force", every=0.2)
    for resource in ("tokenreviews", "subjectaccessreviews"):
        account.take_away(resource, "create")
        await eventually(lambda: answer() == 503, f"{resource} to be refused", every=0.2)
        account.restore()
        await eventually(lambda: answer() == 403, "the role to be in force again", every=0.2)
    assert cluster.requests(namespace) == []


def test_no_role_has_a_wildcard_or_more_than_what_the_gateway_names() -> None:
    assert sorted(verbs("rbac-namespaces.yaml", REQUESTS)) == sorted(verbs("rbac.yaml", REQUESTS))
    for file in ("rbac.yaml", "rbac-namespaces.yaml"):
        assert sorted(verbs(file, "namespaces")) == ["list", "watch"]
        assert verbs(file, "events") == ["create"]
    for resource in ("tokenreviews", "subjectaccessreviews"):
        assert verbs("rbac-tokenreview.yaml", resource) == ["create"]
