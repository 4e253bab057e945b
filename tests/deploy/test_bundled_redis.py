"""The Redis that the chart brings along: its script starts what it says, and what fails over comes back in line."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml

from chaos.rig.api import Api
from chaos.rig.processes import Process
from chaos.rig.waiting import eventually
from tests.deploy.charts import CHART, Chart, config_text, one_of, values
from tests.integration.sight import PATIENT, adds_up, fires, send_one
from tests.rig.fixtures import StartGateway, require
from tests.rig.fixtures.requiring import MISSING

SCRIPT = CHART / "files" / "redis.sh"
PEERS = ("127.77.0.1", "127.77.0.2", "127.77.0.3")
"""Addresses of the loopback, of which each pod has one: the ports are the same in all of them."""


@pytest.fixture
def programs() -> Path:
    """A folder with redis-server and redis-cli."""
    folder = require("redis-server").parent
    if not (folder / "redis-cli").exists() and shutil.which("redis-cli") is None:
        missing = f"{MISSING}redis-cli, beside {folder.name}/redis-server or on PATH"
        if os.environ.get("CI"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return folder


class Pod:
    """One pod of the StatefulSet: its containers are processes at an address of its own."""

    def __init__(self, folder: Path, programs: Path, address: str, peers: tuple[str, ...]) -> None:
        self.address = address
        self._folder = folder
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        common = {"PATH": path, "PEERS": " ".join(peers), "SELF": address, "BIND": address}
        self.parts = {
            part: Process(
                f"{part}-{address}",
                ["sh", str(SCRIPT), part],
                folder=folder,
                env={**common, "DIR": str(folder / part), "MAXMEMORY": "64mb"},
            )
            for part in (("server", "sentinel") if len(peers) > 1 else ("server",))
        }

    def start(self) -> None:
        """With empty volumes, as pods are that come anew."""
        for part, process in self.parts.items():
            shutil.rmtree(self._folder / part, ignore_errors=True)
            (self._folder / part).mkdir(parents=True)
            process.start()

    def kill(self) -> None:
        for process in self.parts.values():
            process.kill()

    def info(self) -> dict[str, object]:
        """What the server says of replication; empty where it does not answer."""
        with contextlib.suppress(redis.RedisError), redis.Redis(self.address, 6379, protocol=2) as client:
            found: dict[str, object] = client.info("replication")
            return found
        return {}

    def master(self) -> str:
        """Whom the Sentinel of the pod takes for the master; empty where it does not answer."""
        with contextlib.suppress(redis.RedisError), redis.Redis(self.address, 26379, protocol=2) as client:
            told = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
            return told[0].decode() if told else ""
        return ""

    def knows(self) -> tuple[int, int]:
        """How many replicas and other Sentinels its Sentinel knows: each learns that from the master."""
        with contextlib.suppress(redis.RedisError), redis.Redis(self.address, 26379, protocol=2) as client:
            flat = client.execute_command("SENTINEL", "MASTER", "mymaster")
            told = dict(zip(flat[::2], flat[1::2], strict=True))
            return int(told[b"num-slaves"]), int(told[b"num-other-sentinels"])
        return 0, 0


@pytest.fixture
def pods(tmp_path: Path, programs: Path) -> Iterator[list[Pod]]:
    made = [Pod(tmp_path / address, programs, address, PEERS) for address in PEERS]
    yield made
    for one in made:
        one.kill()


async def test_three_that_watch_each_other_fail_over_and_the_lost_one_comes_back_as_a_replica(
    pods: list[Pod], start_gateway: StartGateway, cluster: Api, namespace: str
) -> None:
    for one in pods:
        one.start()
    first, *others = pods
    await eventually(lambda: first.info().get("connected_slaves") == 2, "two replicas", seconds=30)
    await eventually(
        lambda: [(one.master(), one.knows()) for one in pods] == [(PEERS[0], (2, 2))] * 3,
        "the Sentinels to know all",
        seconds=40,
    )
    hosts = ",".join(f"{address}:26379" for address in PEERS)
    gateway = start_gateway(redis=f"redis+sentinel://{hosts}/mymaster", cluster=cluster, settings=PATIENT)
    assert send_one(gateway, fires(namespace))["outcome"] == "created"

    first.kill()

    def promoted() -> bool:
        masters = {one.master() for one in others}
        return len(masters) == 1 and masters <= {one.address for one in others}

    await eventually(promoted, "another master", seconds=40)
    first.start()
    await eventually(
        lambda: first.info().get("master_link_status") == "up", "the lost one in line", seconds=30
    )
    assert first.info()["role"] == "slave"
    assert first.info()["master_host"] == others[0].master()
    # Its Sentinel is another process, and may need longer.
    await eventually(lambda: first.master() == others[0].master(), "its Sentinel in line", seconds=30)
    assert send_one(gateway, fires(namespace))["outcome"] == "duplicate"
    await adds_up(cluster, namespace, [2])


async def test_a_single_one_keeps_what_it_has_and_refuses_rather_than_forgets(
    tmp_path: Path, programs: Path
) -> None:
    one = Pod(tmp_path / "pod", programs, PEERS[0], PEERS[:1])
    one.start()
    try:
        await eventually(lambda: one.info().get("role") == "master", "the server", seconds=20)
        with redis.Redis(one.address, 6379, protocol=2) as client:
            found = {
                key: client.config_get(key)[key] for key in ("maxmemory-policy", "maxmemory", "appendonly")
            }
        assert found == {"maxmemory-policy": "noeviction", "maxmemory": str(64 << 20), "appendonly": "yes"}
    finally:
        one.kill()


def test_the_chart_gives_the_script_what_it_asks_for(helm: Path) -> None:
    objects = Chart(helm).objects(values("sentinel"))
    name = "alert-gateway-redis"
    assert one_of(objects, "ConfigMap", name)["data"]["redis.sh"].strip() == SCRIPT.read_text().strip()
    template = one_of(objects, "StatefulSet", name)["spec"]["template"]["spec"]
    for container in template["containers"]:
        given = {one["name"]: one.get("value") for one in container["env"]}
        assert {"PEERS", "SELF", "DIR"} <= given.keys()
        peers = given["PEERS"].split()
        assert [given["SELF"].replace("$(POD)", f"{name}-{number}") for number in range(3)] == peers
    url = yaml.safe_load(config_text(objects))["redis"]["url"]
    assert url == f"redis+sentinel://{','.join(f'{peer}:26379' for peer in peers)}/mymaster"
