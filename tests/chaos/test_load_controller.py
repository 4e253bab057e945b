"""The played controllers: what they delete is written down as it was last, whatever is written to it meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from chaos.alerts import Json
from chaos.kubernetes import Kubernetes
from chaos.load.controller import Controller
from chaos.rig.api import Api
from chaos.rig.waiting import eventually
from tests.contract.speaking import create, merge

REQUESTS = 30


class Deaf(Kubernetes):
    """Its watches tell nothing, as those of a connection that hangs; deletions wait until they are let through."""

    def __init__(self, folder: Path, kubeconfig: Path | None = None) -> None:
        super().__init__(folder, kubeconfig)
        self.let_through = asyncio.Event()

    async def call(
        self, method: str, path: str, body: Json | None = None, *, content_type: str = "application/json"
    ) -> tuple[int, Json]:
        if method == "DELETE":
            await self.let_through.wait()
        return await super().call(method, path, body, content_type=content_type)

    async def stream(self, path: str) -> AsyncIterator[Json]:
        await asyncio.Event().wait()
        yield {}


def _written(gone: Path) -> dict[str, Json]:
    lines = [json.loads(line) for line in gone.read_text().splitlines()]
    found = {item["metadata"]["name"]: item for item in lines}
    assert len(found) == len(lines)
    return found


async def test_requests_are_completed_and_later_deleted_and_each_is_written_down(
    cluster: Api, namespace: str, tmp_path: Path
) -> None:
    async with Kubernetes(tmp_path, cluster.kubeconfig) as kubernetes:
        controller = Controller(
            kubernetes, namespace, tmp_path / "gone.jsonl", complete_after=0.1, delete_after=0.1
        )
        running = asyncio.create_task(controller.run())
        for number in range(REQUESTS):
            await asyncio.to_thread(create, cluster, namespace, f"rr-{number}")
        await eventually(lambda: controller.deleted == REQUESTS, "all of them to be deleted", seconds=30)
        controller.stop()
        await running

    assert cluster.requests(namespace) == []
    written = _written(tmp_path / "gone.jsonl")
    assert written.keys() == {f"rr-{number}" for number in range(REQUESTS)}
    assert {item["status"]["overallPhase"] for item in written.values()} == {"Completed"}


async def test_what_was_counted_behind_its_back_is_in_what_it_writes_down(
    cluster: Api, namespace: str, tmp_path: Path
) -> None:
    create(cluster, namespace, "rr-0")
    async with Deaf(tmp_path, cluster.kubeconfig) as kubernetes:
        controller = Controller(
            kubernetes, namespace, tmp_path / "gone.jsonl", complete_after=0.0, delete_after=0.0
        )
        running = asyncio.create_task(controller.run())
        await eventually(lambda: controller.completed, "it to be completed", seconds=30)
        patch = {"spec": {"deduplication": {"occurrenceCount": 5}}}
        await asyncio.to_thread(merge, cluster, namespace, "rr-0", patch)
        kubernetes.let_through.set()
        await eventually(lambda: controller.deleted, "it to be deleted", seconds=30)
        controller.stop()
        await running

    assert _written(tmp_path / "gone.jsonl")["rr-0"]["spec"]["deduplication"]["occurrenceCount"] == 5


async def test_what_is_under_way_when_it_is_stopped_is_still_written_down(
    cluster: Api, namespace: str, tmp_path: Path
) -> None:
    for number in range(REQUESTS):
        await asyncio.to_thread(create, cluster, namespace, f"rr-{number}")
    async with Kubernetes(tmp_path, cluster.kubeconfig) as kubernetes:
        controller = Controller(
            kubernetes, namespace, tmp_path / "gone.jsonl", complete_after=0.0, delete_after=0.0
        )
        running = asyncio.create_task(controller.run())
        await eventually(lambda: controller.deleted, "a request to be deleted", seconds=30, every=0.001)
        controller.stop()
        await running

    written = set(_written(tmp_path / "gone.jsonl"))
    left = {item["metadata"]["name"] for item in cluster.requests(namespace)}
    assert (written & left, written | left) == (set(), {f"rr-{number}" for number in range(REQUESTS)})
