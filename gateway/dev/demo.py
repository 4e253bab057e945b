"""The demo: recorded webhooks posted to a running gateway, and the resulting requests read back as a table.

It talks to the gateway as Alertmanager does, and to Kubernetes as an operator does, and knows nothing else of either.
The recordings are ours, of the form that `gateway replay` plays; their times are moved to now.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from gateway.errors import GatewayError
from gateway.model import API_GROUP, API_VERSION, PLURAL
from gateway.recording.lines import Entry, decode, moment

WEBHOOK = "/v1/webhooks/prometheus"
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_AGENT = {"User-Agent": "Alertmanager/demo"}
_TIMES = ("startsAt", "endsAt")


class DemoFailed(GatewayError):
    """The gateway or the Kubernetes API did not answer as the demo needs it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded webhook: what it is about, and its body with the times moved to now."""

    title: str
    body: dict[str, Any]
    after: float
    """Seconds after the first one of its recording."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the gateway answered to one webhook. `outcomes` has one word for each alert, in order."""

    title: str
    alerts: int
    status: int
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One `RemediationRequest` as the demo shows it. `age` in seconds; `phase` empty until someone takes it up."""

    namespace: str
    name: str
    signal: str
    severity: str
    priority: str
    storm: bool
    problems: int
    """How many problems it is about: more than one for a storm."""
    occurrences: int
    phase: str
    resolved: bool
    age: float


def steps(now: datetime, recording: str = "incident") -> Iterator[Step]:
    """The webhooks of a recording, as if its end were `now` (aware)."""
    source = importlib.resources.files("gateway.dev") / "recordings" / f"{recording}.jsonl"
    records = [decode(line) for line in source.read_bytes().splitlines()]
    entries = [record for record in records if isinstance(record, Entry)]
    shift = now - moment(entries[-1].time)
    for entry in entries:
        body = json.loads(entry.body)
        for alert in body["alerts"]:
            for field in _TIMES:
                if not alert[field].startswith("0001-"):  # Alertmanager's way to say: not known
                    alert[field] = _stamp(moment(alert[field]) + shift)
        yield Step(entry.note, body, entry.offset - entries[0].offset)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


async def play(
    base_url: str,
    recording: str = "incident",
    *,
    paced: bool = False,
    now: datetime | None = None,
    headers: Mapping[str, str] | None = None,
    on_delivery: Callable[[Delivery], None] | None = None,
) -> list[Delivery]:
    """Posts the recorded webhooks, one after the other, to the gateway at `base_url`.

    With `paced` each waits until as much time has passed as when it was recorded. `on_delivery` is called after each.
    Raises `DemoFailed` if one is not answered with 2xx.
    """
    deliveries: list[Delivery] = []
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers={**_AGENT, **(headers or {})}) as session:
        started = asyncio.get_running_loop().time()
        for step in steps(now or datetime.now(UTC), recording):
            if paced:
                await asyncio.sleep(started + step.after - asyncio.get_running_loop().time())
            delivery = await _post(session, base_url.rstrip("/") + WEBHOOK, step)
            deliveries.append(delivery)
            if on_delivery is not None:
                on_delivery(delivery)
    return deliveries


async def _post(session: aiohttp.ClientSession, url: str, step: Step) -> Delivery:
    try:
        async with session.post(url, json=step.body) as response:
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoFailed(f"the gateway at {url} does not answer: {error}") from error
    if response.status // 100 != 2:
        raise DemoFailed(f"the gateway answered {response.status} to “{step.title}”: {text[:300]}")
    answer = json.loads(text)
    outcomes = tuple(str(alert.get("outcome", "")) for alert in answer.get("alerts", ()))
    return Delivery(step.title, len(step.body["alerts"]), response.status, outcomes)


async def table(kubeconfig: Path, *, now: datetime | None = None) -> list[Row]:
    """All requests of the embedded cluster, most urgent first. Raises `DemoFailed`."""
    server = _server(kubeconfig)
    url = f"{server}/apis/{API_GROUP}/{API_VERSION}/{PLURAL}"
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as response:
            listed = await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoFailed(f"the Kubernetes API at {server} does not answer: {error}") from error
    if response.status != 200:
        raise DemoFailed(f"the Kubernetes API answered {response.status}: {listed.get('message', '')}")
    at = now or datetime.now(UTC)
    rows = [_row(item, at) for item in listed["items"]]
    return sorted(rows, key=lambda row: (row.priority, row.namespace, row.name))


def _server(kubeconfig: Path) -> str:
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    server = str(config["clusters"][0]["cluster"]["server"])
    if not server.startswith("http://"):
        raise DemoFailed(f"{kubeconfig} does not lead to an embedded cluster but to {server}")
    return server


def _row(item: Mapping[str, Any], now: datetime) -> Row:
    metadata, spec = item["metadata"], item.get("spec", {})
    storm = bool(spec.get("isStorm", False))
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    return Row(
        namespace=metadata["namespace"],
        name=metadata["name"],
        signal=spec.get("signalName", ""),
        severity=spec.get("severity", ""),
        priority=spec.get("priority", ""),
        storm=storm,
        problems=int(spec.get("stormAlertCount", 0)) if storm else 1,
        occurrences=int(spec.get("deduplication", {}).get("occurrenceCount", 0)),
        phase=item.get("status", {}).get("overallPhase", ""),
        resolved=f"{API_GROUP}/signal-resolved-at" in metadata.get("annotations", {}),
        age=max((now - created) / timedelta(seconds=1), 0.0),
    )
