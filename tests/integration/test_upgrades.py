"""Upgrades: replicas are replaced one after the other, by the same version and by another one, with windows open."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.rolling import STORMY, Sending, Service
from tests.integration.sight import settled
from tests.integration.test_counting import check_marks
from tests.integration.windows import STEADY, is_storm, member_counts, open_windows, window_of
from tests.rig.fixtures import StartGateway
from tests.rig.fixtures.requiring import MISSING

ROOT = Path(__file__).parents[2]
PREVIOUS = "32dc1538368901f05c04c2d6bcf6f9123613aafa"
"""The version before this one: a commit. With each release, that of the last one."""

SETTINGS: dict[str, Any] = {
    **STEADY,
    "storm": {
        # Open for as long as new problems come, and over soon after.
        "hold": "5s",
        "inactivity": "5s",
        "max_window": "2m",
        "rules": [{"matchers": [f'alertname!="{STORMY}"'], "mode": "immediate"}],
    },
    "queue": {"lease": "5s"},
}


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The tree of the version before this one. Without it the test is skipped, in capitals, and in CI it fails."""
    command = ["git", "archive", "--format=tar", PREVIOUS, "gateway", "deploy/crds"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        missing = f"{MISSING}the commit {PREVIOUS[:12]}; a whole clone has it"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path / "previous", filter="data")
    tree = tmp_path / "previous"
    where = [sys.executable, "-c", "import gateway; print(gateway.__file__)"]
    found = subprocess.run(where, cwd=tree, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(found).is_relative_to(tree)
    return tree


async def adds_up(sending: Sending, cluster: Api, namespace: str) -> None:
    """Each problem is in requests as often as it was accepted; each window is one aggregated request."""

    def found() -> Counter[str]:
        counted: Counter[str] = Counter()
        for request in cluster.requests(namespace):
            if is_storm(request):
                counted.update(member_counts(request))
            else:
                spec = request["spec"]
                counted[spec["signalLabels"]["pod"]] += int(spec["deduplication"]["occurrenceCount"])
        return counted

    try:
        await eventually(lambda: found() == sending.accepted, "the counts", seconds=60, every=0.5)
    except TimeoutError:
        counted = found()
        wrong = {
            pod: (number, counted[pod])
            for pod, number in (sending.accepted | counted).items()
            if sending.accepted[pod] != counted[pod]
        }
        raise AssertionError(f"accepted and counted: {wrong}") from None
    aggregated = [window_of(one) for one in cluster.requests(namespace) if is_storm(one)]
    assert len(aggregated) == len(set(aggregated))
    assert set(aggregated) == sending.windows


async def test_a_rolling_restart_of_two_replicas_under_load_fails_no_webhook_and_counts_exactly(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS) for _ in range(2)]
    service = Service(replicas)
    sending = Sending(service, namespace)
    took = []
    async with sending.under_way():
        await eventually(lambda: sending.total > 100, "some load", seconds=30)
        for replica in replicas:
            took.append(await service.replace(replica, replica))
            before = sending.total
            await eventually(lambda: sending.total > before + 100, "more load", seconds=30)  # noqa: B023
        assert len(sending.windows) == 1
        sending.storms = False
        await eventually(lambda: not open_windows(redis_server), "the window to end", seconds=60, every=0.3)
    await settled(*replicas)

    assert sending.failed == []
    await adds_up(sending, cluster, namespace)
    check_marks([one for one in cluster.requests(namespace) if not is_storm(one)])
    print(
        f"{sending.total} webhooks, {sending.repeated} of them twice on kept connections; "
        f"stopped after {took[0]:.1f} and {took[1]:.1f} s; {dict(sending.outcomes)}"
    )


async def test_two_versions_side_by_side_count_exactly_on_the_way_forth_and_back(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, previous: Path
) -> None:
    old = [
        start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS, tree=previous) for _ in range(2)
    ]
    new = [start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS, wait=None) for _ in range(2)]
    service = Service(old)
    sending = Sending(service, namespace)

    async def more(what: str) -> None:
        before = sending.total
        await eventually(lambda: sending.total > before + 150, what, seconds=30)

    async with sending.under_way():
        await more("load on the old version")
        await service.replace(old[0], new[0])
        await more("load on both, with a window that the old one opened")
        assert len(sending.windows) == 1
        sending.storms = False
        await eventually(lambda: not open_windows(redis_server), "the window to end", seconds=60, every=0.3)
        sending.storms = True
        await more("load on both, with a window that either opened")
        await service.replace(old[1], new[1])
        await more("load on the new version")
        await service.replace(new[0], old[0])
        await more("load on both, on the way back")
        sending.storms = False
    await settled(old[0], new[1], seconds=60)

    assert sending.failed == []
    assert len(sending.windows) >= 2
    await adds_up(sending, cluster, namespace)
    check_marks([one for one in cluster.requests(namespace) if not is_storm(one)])
    print(f"{sending.total} webhooks, {sending.repeated} sent twice; {dict(sending.outcomes)}")
