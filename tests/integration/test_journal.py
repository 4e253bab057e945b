"""A gateway is killed at the very moment in which Redis loses everything: the journal has what only they knew."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.ports import free_port
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import body, caught, fires, send, settled, words
from tests.integration.test_stopping import Load, within
from tests.integration.windows import STEADY, is_storm, once, pods, quick, stands, windows_in
from tests.rig.fixtures import StartGateway, StartRedis


def written(log: Path) -> int:
    """Lines of a log that is being written."""
    return log.read_bytes().count(b"\n") if log.exists() else 0


def journalled(path: Path, **more: Any) -> dict[str, Any]:
    return {**STEADY, "queue": {"lease": "3s"}, "journal": {"path": str(path)}, **more}


def lose_everything(gateway: GatewayProcess, server: RedisServer) -> None:
    """SIGKILL and FLUSHALL, as close together as can be."""
    gateway.kill()
    with server.client() as client:
        client.flushall()


def ready_lines(gateway: GatewayProcess) -> dict[str, Any]:
    _, answer = gateway.get("/readyz")
    found: dict[str, Any] = json.loads(answer)
    return found


async def test_members_of_an_open_storm_survive_the_kill_together_with_a_flush(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    settings = {**quick(hold="20s", inactivity="20s"), "journal": {"path": str(tmp_path / "journal")}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)

    # 0 s: a storm of five, two of which fire again. Nothing of it is in Kubernetes for 20 s.
    _, verdicts = send(gateway, *pods(namespace, 0, 1, 2, 3, 4))
    (window,) = windows_in(verdicts)
    send(gateway, *pods(namespace, 1, 2))
    assert cluster.requests(namespace) == []
    lose_everything(gateway, redis_server)
    # Then the next process, which goes on with the same window: another alert joins it.
    await asyncio.to_thread(gateway.start)
    await eventually(
        lambda: [w["id"] for w in json.loads(gateway.get("/v1/storms")[1])["windows"]] == [window],
        "the window to be there again",
        seconds=20,
    )
    send(gateway, *pods(namespace, 5))

    (request,) = await stands(cluster, namespace, storms=[{**once(0, 3, 4, 5), "p1": 2, "p2": 2}], seconds=60)
    await settled(gateway)
    assert request["metadata"]["name"] == f"rr-podoomkilled-storm-{window}"
    assert is_storm(request)


async def test_what_waits_for_kubernetes_survives_the_kill_together_with_a_flush(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    gateway = start_gateway(
        redis=redis_server,
        cluster=cluster,
        settings=quick(hold="8s") | {"journal": {"path": str(tmp_path / "j")}},
    )

    # Below the threshold: held, and requests of their own after the hold.
    send(gateway, *pods(namespace, 0, 1))
    send(gateway, *pods(namespace, 1))
    # The process is killed again before it could write anything.
    for _ in range(2):
        lose_everything(gateway, redis_server)
        await asyncio.to_thread(gateway.start)

    await stands(cluster, namespace, own=[("p0", 1), ("p1", 2)], seconds=60)
    await settled(gateway)
    # All is stored: the next process has nothing to inherit.
    assert await asyncio.to_thread(gateway.terminate, seconds=30) == 0
    await asyncio.to_thread(gateway.start)
    assert json.loads(gateway.get("/v1/status")[1])["unconfirmed"] == 0
    assert (tmp_path / "j").read_bytes().count(b"\n") == 1


async def test_under_load_all_that_was_answered_is_counted_and_none_twice(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    victim, other = (
        start_gateway(redis=redis_server, cluster=cluster, settings=journalled(tmp_path / name))
        for name in ("one", "two")
    )
    load = Load([victim.url, other.url], namespace, problems=8)

    running = asyncio.create_task(load.run())
    for number in range(4):
        before = load.accepted
        await eventually(lambda: load.accepted > before + 150, "some load", seconds=20)  # noqa: B023
        if number == 0:
            await caught(victim)
        await asyncio.to_thread(lose_everything, victim, redis_server)
        await asyncio.to_thread(victim.start)
        victim, other = other, victim
    load.stop = True
    await running
    await settled(victim, other)
    await eventually(lambda: within(load, cluster, namespace), "the books to agree", seconds=40, every=0.3)

    assert load.unanswered > 0


@pytest.mark.parametrize("hold", ["0", "4s"])
async def test_the_audit_of_a_send_during_which_gateway_and_redis_lost_everything_finds_nothing(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
    hold: str,
) -> None:
    """`hold` 0: no windows."""
    settings = journalled(tmp_path / "journal")
    if hold != "0":
        settings["storm"] = {"hold": hold, "inactivity": hold, "max_window": "20s"}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    log = tmp_path / "sent.jsonl"
    gateway_command = [sys.executable, "-m", "gateway"]
    sending = await asyncio.create_subprocess_exec(
        *gateway_command,
        *("send", "--url", gateway.url, "--namespace", namespace, "--alert-name", "Lost"),
        *("--count", "900", "--distinct", "12", "--rate", "200/s", "--retries", "30", "--timeout", "5s"),
        *("--concurrency", "8", "--output", str(log)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for lines in (100, 350, 600):
        await eventually(lambda: written(log) > lines, "the send to be on its way", seconds=30)  # noqa: B023
        await asyncio.to_thread(lose_everything, gateway, redis_server)
        await asyncio.to_thread(gateway.start)
    assert await asyncio.wait_for(sending.wait(), 60) == 0

    audit = await asyncio.to_thread(
        subprocess.run,
        [
            *gateway_command,
            *("audit", "--sent", str(log), "--kubeconfig", str(cluster.kubeconfig), "--wait", "60s"),
            *("--url", gateway.url),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "Everything adds up" in audit.stdout


async def test_what_the_journal_has_no_room_for_is_taken_all_the_same_and_told_until_there_is(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    settings = quick(hold="6s", inactivity="6s") | {
        "journal": {"path": str(tmp_path / "journal"), "max_size": "6KiB"}
    }
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    assert ready_lines(gateway)["components"]["journal"]["ok"]

    status, verdicts = send(gateway, *pods(namespace, *range(12)))
    assert status == 202
    assert words(verdicts) == {"buffered": 12}
    told = ready_lines(gateway)
    assert told["status"] == "degraded"
    assert "max_size" in told["components"]["journal"]["detail"]
    assert any("the journal cannot be written" in warning for warning in told["warnings"])
    assert gateway.metric("gateway_errors_total", type="journal") >= 1
    # Once Kubernetes has them there is room again.
    await stands(cluster, namespace, storms=[once(*range(12))])
    await eventually(lambda: ready_lines(gateway)["components"]["journal"]["ok"], "room", seconds=60)


async def test_it_starts_where_nothing_can_be_written_and_goes_on_from_what_can_be_read(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    settings = {**quick(hold="5s"), "journal": {"path": str(tmp_path / "journal")}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    send(gateway, *pods(namespace, 0))
    lose_everything(gateway, redis_server)
    (tmp_path / "journal.new").mkdir()  # in the way of every new file
    await gateway.start_async(wait="ready")

    assert not ready_lines(gateway)["components"]["journal"]["ok"]
    await stands(cluster, namespace, own=[("p0", 1)])
    (tmp_path / "journal.new").rmdir()
    await eventually(lambda: ready_lines(gateway)["components"]["journal"]["ok"], "the file", seconds=60)


async def test_with_redis_and_kubernetes_away_a_journal_alone_accepts_nothing(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, tmp_path: Path
) -> None:
    server = start_redis()
    nowhere = tmp_path / "kubeconfig"
    text = cluster.kubeconfig.read_text()
    nowhere.write_text(re.sub(r"https://127\.0\.0\.1:\d+", f"https://127.0.0.1:{free_port()}", text))
    gateway = start_gateway(
        redis=server, cluster=nowhere, settings=journalled(tmp_path / "journal"), wait="alive"
    )
    server.kill()

    assert nowhere.read_text() != text
    assert gateway.post(PATH, body(fires("nowhere")))[0] == 503
    assert (tmp_path / "journal").read_bytes().count(b"\n") == 1


async def test_a_second_gateway_on_the_same_path_does_not_start_and_says_which(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    start_gateway(redis=redis_server, cluster=cluster, settings=journalled(path))
    second = start_gateway(redis=redis_server, cluster=cluster, settings=journalled(path), wait="no")

    assert await asyncio.to_thread(second.wait, seconds=20) != 0
    assert f"journal.path: {path} is in use by another process" in second.log()
