"""SIGKILL at random moments while alerts come in, and `gateway audit` as the judge of what is left.

Each run kills at other moments. A failed test prints its seed; `KILL_SEED=4711` draws the same moments again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaos.rig.api import Api, Json
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.commands import COMMAND, FINDING, OK, ROOT, environment, gateway, printed
from tests.integration.sight import caught, settled
from tests.integration.test_counting import check_marks
from tests.rig.fixtures import StartGateway

KILLS = 10
PROBLEMS = 12
CONCURRENCY = 16
"""Webhooks that a sender has under way at once: so many a kill cuts short at the most."""
SETTINGS = {"queue": {"lease": "2s"}}
"""What a killed process had claimed is free again after this. With the usual 15 s, tests would mostly wait."""


@pytest.fixture
def rng() -> random.Random:
    seed = os.environ.get("KILL_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"KILL_SEED={seed}")
    return random.Random(seed)


class Senders:
    """`gateway send` for each replica, all about the same problems, until they are told to stop."""

    def __init__(self, folder: Path, namespace: str, replicas: Sequence[GatewayProcess]) -> None:
        self.logs = [folder / f"sent-to-{replica.name}.jsonl" for replica in replicas]
        self._processes = [
            Process(
                f"send-to-{replica.name}",
                [
                    *COMMAND,
                    *("send", "--url", replica.url, "--namespace", namespace, "--alert-name", "Killed"),
                    *("--distinct", str(PROBLEMS), "--rate", "200/s", "--duration", "5m"),
                    *("--concurrency", str(CONCURRENCY), "--retries", "30", "--timeout", "5s"),
                    *("--output", log),
                ],
                folder=folder,
                env=environment(),
                cwd=ROOT,
            )
            for replica, log in zip(replicas, self.logs, strict=True)
        ]
        for process in self._processes:
            process.start()

    def attempts(self) -> list[Json]:
        """All that is logged so far, but a line that is just being written."""
        return [
            json.loads(line)
            for log in self.logs
            if log.exists()
            for line in log.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def accepted(self) -> int:
        return sum(attempt["status"] in (201, 202) for attempt in self.attempts())

    def stop(self) -> None:
        """As Ctrl-C does: what is under way is finished, and nothing is tried again."""
        for process in self._processes:
            process.signal(signal.SIGINT)
        for process in self._processes:
            process.wait(seconds=20)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()


async def kill_again_and_again(
    replicas: Sequence[GatewayProcess], senders: Senders, rng: random.Random
) -> None:
    """Any of the replicas, at any moment: mostly while it takes alerts, sometimes while it starts.

    Every other kill is made to fall on a webhook that is under way. Each is up again at the end, and takes alerts: so
    many in all that what the kills leave open is little beside them.
    """
    for number in range(KILLS):
        victim = rng.choice(replicas)
        if rng.random() < 0.8:
            await eventually(victim.ready, f"{victim.name} to be ready", seconds=60)
            await taking(senders, 20)
        # No wait for a condition: the moment is the point.
        await asyncio.sleep(rng.uniform(0.02, 1.0))
        if number % 2 == 0:
            await caught(victim)
        victim.kill()
        await asyncio.sleep(rng.uniform(0, 0.2))
        victim.start(wait="no")
    for replica in replicas:
        await eventually(replica.ready, f"{replica.name} to be back", seconds=60)
    await taking(senders, 100)
    enough = 10 * KILLS * CONCURRENCY
    await eventually(lambda: senders.accepted() > enough, f"{enough} to be taken", seconds=120, every=0.3)


async def taking(senders: Senders, more: int) -> None:
    """Wait until so many more alerts are accepted."""
    before = senders.accepted()
    await eventually(lambda: senders.accepted() >= before + more, "alerts to be taken", seconds=30, every=0.1)


class Judge:
    """`gateway audit` over one namespace, to which nobody else sends: anything more than was sent is a surplus."""

    def __init__(self, cluster: Api, namespace: str) -> None:
        self._where = (
            *("audit", "--kubeconfig", str(cluster.kubeconfig), "--exclusive", "--output", "json"),
            *("--set", f"kubernetes.namespaces=[{namespace}]"),
        )

    def asked(self, logs: Sequence[Path], *more: str, expected: int = OK) -> Json:
        sent = [word for log in logs for word in ("--sent", str(log))]
        found: Json = printed(gateway(*self._where, *sent, *more), expected)
        return found


async def killed_and_judged(
    replicas: Sequence[GatewayProcess], cluster: Api, namespace: str, folder: Path, rng: random.Random
) -> None:
    senders = Senders(folder, namespace, replicas)
    try:
        await taking(senders, 100)
        await kill_again_and_again(replicas, senders, rng)
        await asyncio.to_thread(senders.stop)
    finally:
        senders.kill()
    judge = Judge(cluster, namespace)

    first = await asyncio.to_thread(judge.asked, senders.logs, "--wait", "30s")
    await settled(*replicas)
    # What was left in the queue or in memory may be a delivery that was never answered, and nothing else.
    last = await asyncio.to_thread(judge.asked, senders.logs)

    assert first["clean"]
    assert last["clean"]
    assert last["fingerprints"] == PROBLEMS == len(cluster.requests(namespace))
    check_marks(cluster.requests(namespace))
    cut = [one for one in senders.attempts() if one["status"] is None and one["connected"]]
    print(f"{last['accepted']} accepted, {last['counted']} counted, {len(cut)} cut short")
    assert len(cut) >= KILLS / 2, "hardly a kill fell on a request that was under way"
    # The kills leave little open; else a wrong count could hide in it.
    assert last["accepted"]["high"] - last["accepted"]["low"] <= len(cut) < last["accepted"]["low"] / 10


async def test_a_gateway_killed_ten_times_at_random_moments_loses_nothing_and_counts_nothing_twice(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
    rng: random.Random,
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS)]
    await killed_and_judged(replicas, cluster, namespace, tmp_path, rng)


async def test_of_two_replicas_either_may_be_killed_at_any_moment(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
    rng: random.Random,
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS) for _ in range(2)]
    await killed_and_judged(replicas, cluster, namespace, tmp_path, rng)


@pytest.fixture
def sent(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> Path:
    """The log of sends with kills between them, all of which is counted."""
    replica = start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS)
    log = tmp_path / "sent.jsonl"
    for _ in range(2):
        done = gateway(
            *("send", "--url", replica.url, "--namespace", namespace, "--alert-name", "Killed"),
            *("--count", "30", "--distinct", "3", "--output", str(log)),
        )
        assert done.returncode == OK, done.stderr
        replica.restart()
    return log


def test_the_audit_finds_one_accepted_alert_too_many_or_too_few_in_the_log(
    sent: Path, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    judge = Judge(cluster, namespace)
    assert judge.asked([sent], "--wait", "20s")["counted"] == 60
    lines = sent.read_text().splitlines()
    invented = json.loads(lines[-1]) | {"delivery": "invented"}
    more, fewer = tmp_path / "more.jsonl", tmp_path / "fewer.jsonl"
    more.write_text("\n".join([*lines, json.dumps(invented)]) + "\n")
    fewer.write_text("\n".join(lines[:-1]) + "\n")

    lost = judge.asked([more], expected=FINDING)
    surplus = judge.asked([fewer], expected=FINDING)

    assert (lost["clean"], lost["lost"], lost["surplus"]) == (False, 1, 0)
    assert (surplus["clean"], surplus["lost"], surplus["surplus"]) == (False, 0, 1)
