"""`record.path`: every body that passed authentication and the limits is recorded, and recording hurts nobody."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from chaos.rig.waiting import eventually
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError, NotDurable
from gateway.intake.reading import Intake
from gateway.recording.lines import Entry
from gateway.recording.reading import read
from gateway.telemetry.metrics import Metrics
from gateway.web import recording
from gateway.web.recording import Recorder
from gateway.web.reports import About
from gateway.web.service import Web
from tests.unit.web.harness import NOW, WEBHOOK, FakeEngine, Service

ALERT = {"labels": {"alertname": "A", "namespace": "n"}}


class Recorded:
    """A web layer that records, as the app composes it."""

    def __init__(self, service: Service, recorder: Recorder, path: Path) -> None:
        self.service = service
        self.recorder = recorder
        self.path = path

    async def entries(self, number: int) -> list[Entry]:
        """What is in the file, once so many are."""
        await eventually(lambda: self.recorder.state().written >= number, f"{number} recorded")
        return in_file(self.path)


def in_file(path: Path) -> list[Entry]:
    return [record for record in read(path, lambda _warning: None) if isinstance(record, Entry)]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Any]:
    """Start a service that records; keywords are the engine, arguments of the recorder and sections of the settings."""
    async with AsyncExitStack() as exits:

        async def start(
            engine: FakeEngine | None = None, path: Path | None = None, limit: int = 1 << 30, **sections: Any
        ) -> Recorded:
            settings = Settings.model_validate({"server": {"port": 0, "metrics_port": 0}, **sections})
            metrics = Metrics(CollectorRegistry())
            fake = engine or FakeEngine()
            intake = Intake(settings, lambda _namespace: None)
            where = path or tmp_path / "webhooks.jsonl.gz"
            recorder = Recorder(str(where), limit, metrics, gather=0.01, pause=0.05)
            recorder.open()
            task = asyncio.create_task(recorder.run())
            web = Web(
                settings,
                engine=fake,
                intake=lambda: intake,
                metrics=metrics,
                stamp=lambda: NOW,
                about=lambda: About(version="0", uptime=0.0, tasks={}),
                recorder=recorder,
            )
            await web.gateway.start()
            client = await exits.enter_async_context(aiohttp.ClientSession())

            async def stop() -> None:
                await web.gateway.stop()
                await recorder.close()
                await task

            exits.push_async_callback(stop)
            return Recorded(Service(web, fake, metrics, client), recorder, where)

        yield start


async def test_a_body_is_recorded_as_it_came_with_what_was_answered(start: Any) -> None:
    recorded = await start()
    body = b' {"alerts": [ {"labels":{"alertname":"A","namespace":"n"},"x":1} ]}\n'
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Alertmanager/0.28.0",
    }
    await recorded.service.ask("POST", WEBHOOK, data=body, headers=headers)
    (entry,) = await recorded.entries(1)
    assert entry.body == body
    assert (entry.status, entry.content_type) == (202, "application/json; charset=utf-8")
    assert entry.user_agent == "Alertmanager/0.28.0"
    assert 0 <= entry.offset < 60


async def test_no_credential_is_in_the_file(start: Any, tmp_path: Path) -> None:
    recorded = await start(path=tmp_path / "plain.jsonl")
    headers = {"Authorization": "Bearer very-secret", "Cookie": "very-secret", "X-Api-Key": "very-secret"}
    await recorded.service.ask("POST", WEBHOOK, json={"alerts": [ALERT]}, headers=headers)
    await recorded.entries(1)
    content = recorded.path.read_bytes()
    assert b"alertname" in content
    assert b"very-secret" not in content


async def test_a_compressed_body_is_recorded_unpacked(start: Any) -> None:
    recorded = await start()
    packed = gzip.compress(b'{"alerts":[]}')
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    await recorded.service.ask("POST", WEBHOOK, data=packed, headers=headers)
    (entry,) = await recorded.entries(1)
    assert entry.body == b'{"alerts":[]}'


@pytest.mark.parametrize(
    ("body", "status"), [(b"no JSON", 400), (b'{"alerts":[{"labels":{}}]}', 422), (b"\xff\xfe", 400)]
)
async def test_what_is_refused_for_what_it_says_is_recorded_with_its_status(
    start: Any, body: bytes, status: int
) -> None:
    recorded = await start()
    answer = await recorded.service.ask(
        "POST", WEBHOOK, data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == status
    (entry,) = await recorded.entries(1)
    assert (entry.body, entry.status) == (body, status)


async def test_a_503_is_recorded_and_so_is_what_took_too_long(start: Any) -> None:
    engine = FakeEngine(error=NotDurable("both are away"))
    recorded = await start(engine, server={"port": 0, "metrics_port": 0, "request_timeout": "200ms"})
    assert (await recorded.service.post(ALERT)).status == 503
    engine.error, engine.gate = None, asyncio.Event()
    assert (await recorded.service.post(ALERT)).status == 503
    assert engine.cancelled == 1
    assert [entry.status for entry in await recorded.entries(2)] == [503, 503]


async def test_what_nobody_may_send_is_not_recorded(start: Any, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("sender:" + "s" * 32 + "\n")
    auth = {"mode": "bearer", "tokens_file": str(tokens)}
    server = {"port": 0, "metrics_port": 0, "max_body": "1KiB"}
    recorded = await start(auth=auth, server=server)
    service = recorded.service
    known = {"Authorization": "Bearer " + "s" * 32}
    assert (await service.post(ALERT)).status == 401
    huge = {"alerts": [ALERT], "x": "y" * 2000}
    assert (await service.ask("POST", WEBHOOK, json=huge, headers=known)).status == 413
    assert (await service.ask("GET", "/v1/status", headers=known)).status == 200
    assert (await service.ask("POST", WEBHOOK, json={"alerts": [ALERT]}, headers=known)).status == 202
    assert [entry.status for entry in await recorded.entries(1)] == [202]


async def test_the_end_writes_what_waits_and_finishes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    recorder = Recorder(str(path), 1 << 30, Metrics(CollectorRegistry()))
    recorder.open()
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    for number in range(100):
        recorder.offer(call(b"%d" % number), 202, 0.0)
    await recorder.close()
    await task
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 101
    assert [entry.body for entry in in_file(path)] == [b"%d" % number for number in range(100)]


async def test_more_than_fits_is_left_out_counted_and_never_waited_for(tmp_path: Path) -> None:
    metrics = Metrics(CollectorRegistry())
    recorder = Recorder(str(tmp_path / "r.jsonl.gz"), 1 << 30, metrics)
    body = os.urandom(recording.HELD // 4)
    for _ in range(6):
        recorder.offer(call(body), 202, 0.0)
    assert (recorder.state().waiting, recorder.state().left_out) == (4, 2)
    assert metrics.registry.get_sample_value("gateway_errors_total", {"type": "recording"}) == 2
    task = asyncio.create_task(recorder.run())
    await recorder.close()
    await task
    assert len(in_file(tmp_path / "r.jsonl.gz")) == 4


async def test_a_file_that_cannot_be_written_hurts_no_webhook_and_loses_none_when_it_comes_back(
    start: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    recorded = await start(path=folder / "r.jsonl")
    assert (await recorded.service.post(ALERT)).status == 202
    await recorded.entries(1)
    recorded.recorder._file.close()
    away = folder.rename(tmp_path / "away")
    for _ in range(20):
        assert (await recorded.service.post(ALERT)).status == 202
    await eventually(lambda: recorded.recorder.state().error, "a failed write")
    assert recorded.recorder.state().waiting == 20
    away.rename(folder)
    assert len(await recorded.entries(21)) == 21
    assert recorded.recorder.state().error == ""
    assert recorded.service.value("gateway_errors_total", type="recording") == 0


async def test_a_full_file_goes_on_as_the_newer_of_two(start: Any, tmp_path: Path) -> None:
    recorded = await start(limit=2000, path=tmp_path / "r.jsonl")
    for number in range(1, 31):
        await recorded.service.post({"labels": {**ALERT["labels"], "pod": os.urandom(50).hex()}})
        await eventually(lambda n=number: recorded.recorder.state().written >= n, "recorded")
    older = in_file(tmp_path / "r.1.jsonl")
    newer = in_file(tmp_path / "r.jsonl")
    assert older
    assert newer
    offsets = [entry.offset for entry in (*older, *newer)]
    assert offsets == sorted(offsets)
    assert (tmp_path / "r.1.jsonl").stat().st_size < 4000


async def test_a_path_that_cannot_be_stops_the_start(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "no" / "r.gz"), 1 << 30, Metrics(CollectorRegistry()))
    with pytest.raises(ConfigurationError, match=r"record\.path: .*No such file"):
        recorder.open()


async def test_a_file_that_another_process_writes_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    first, second = (
        Recorder(str(path), 1 << 30, Metrics(CollectorRegistry()), gather=0.01, pause=0.02) for _ in range(2)
    )
    first.open()
    second.open()
    tasks = [asyncio.create_task(one.run()) for one in (first, second)]
    second.offer(call(b"second"), 202, 0.0)
    await eventually(lambda: "another process" in second.state().error, "it met the lock")
    first.offer(call(b"first"), 202, 0.0)
    await first.close()
    await eventually(lambda: second.state().written == 1, "its turn")
    await second.close()
    await asyncio.gather(*tasks)
    assert [entry.body for entry in in_file(path)] == [b"first", b"second"]


def call(body: bytes) -> Any:
    """As much of a call as a recorder looks at."""
    return SimpleNamespace(body=body, request=SimpleNamespace(headers={}))
