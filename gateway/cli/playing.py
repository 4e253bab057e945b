"""Playing a timeline to a gateway: each webhook when it is due, whatever became of those before it.

The loop is open: a slow gateway is not spared, as an Alertmanager would not spare it. Only how many webhooks are under
way is bounded, their retries included; where that bound makes one leave late, it is noted by how much.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from gateway.cli.output import Advance
from gateway.cli.sending import Sender, paused
from gateway.cli.shifting import nanoseconds_of, shifted
from gateway.cli.timeline import Cue, Selection, Survey, cues
from gateway.errors import PayloadError
from gateway.intake.payload import AlertError, decode, decode_alert
from gateway.recording.lines import Entry

LATE = 0.1
"""Seconds after its time from which on a webhook counts as late."""


class PlayedAlert(msgspec.Struct, frozen=True):
    """An alert of a recorded body, as the log of what was sent names it."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Manner(NamedTuple):
    """How a timeline is played."""

    speed: float | None
    """So many times as fast as it was recorded; None: as fast as answers come."""
    repeat: int
    concurrency: int
    shift: bool
    """Move the times of the alerts to now."""


class Played:
    """What came of it, beside the sender's tally."""

    def __init__(self) -> None:
        self.late = 0
        self.latest = 0.0
        """Seconds by which the latest one was late."""
        self.answers: Counter[tuple[int | None, int | None]] = Counter()
        """(status when it was recorded, status now) → webhooks."""


async def play(
    sender: Sender, selection: Selection, extent: Survey, manner: Manner, advance: Advance
) -> Played:
    """Send the selected webhooks, until they or the patience of the user (`sender.stop`) end."""
    played = Played()
    started = time.monotonic()
    score = _rounds(selection, extent, manner)

    async def work() -> None:
        for due, body, entry in score:
            await paused(sender.stop, started + due - time.monotonic())
            if sender.stop.is_set():
                return
            if manner.speed is not None:
                late = time.monotonic() - started - due
                played.late += late > LATE
                played.latest = max(played.latest, late)
            status = await sender.post(body, alerts_of(body), _headers(entry))
            played.answers[entry.status, status] += 1
            advance(sender.tally.webhooks, _note(sender, played))

    async with asyncio.TaskGroup() as group:
        for _ in range(manner.concurrency):
            group.create_task(work())
    return played


def alerts_of(body: bytes) -> list[PlayedAlert]:
    """The alerts of a body as the log names them, in order. One that cannot be read has no labels; where the body as
    a whole cannot, there are none.
    """
    try:
        webhook = decode(body)
    except PayloadError:
        return []
    alerts = []
    for raw in webhook.alerts:
        try:
            alert = decode_alert(raw)
        except AlertError:
            alerts.append(PlayedAlert("firing", {}, {}))
            continue
        alerts.append(PlayedAlert(alert.status or "firing", alert.labels or {}, alert.annotations or {}))
    return alerts


def _rounds(selection: Selection, extent: Survey, manner: Manner) -> Iterator[tuple[float, bytes, Entry]]:
    """Each webhook with the seconds after the start at which it is due, its times moved if that is wanted.

    All times of a round are moved by the same amount: episodes keep their order and their distances. A later round is
    moved past the end of the one before it, so that it never looks like old news.
    """
    move = time.time_ns() - nanoseconds_of(extent.first) if extent.first is not None else 0
    for number in range(manner.repeat):
        lead = number * extent.seconds
        further = round(max(lead, _sped(lead, manner.speed)) * 1e9) + number * 1_000_000
        for cue in cues(selection, _quiet):
            body = cue.entry.body
            yield (
                _due(cue, lead, manner.speed),
                shifted(body, move + further) if manner.shift else body,
                cue.entry,
            )


def _due(cue: Cue, lead: float, speed: float | None) -> float:
    return _sped(lead + cue.at, speed)


def _sped(seconds: float, speed: float | None) -> float:
    return seconds / speed if speed is not None else 0.0


def _headers(entry: Entry) -> dict[str, str]:
    """The two headers that a recording keeps, where they can be sent as they are."""
    kept = {"Content-Type": entry.content_type, "User-Agent": entry.user_agent}
    return {name: value for name, value in kept.items() if value and value.isprintable()}


def _note(sender: Sender, played: Played) -> str:
    lost = sender.tally.not_taken or sender.tally.refused
    words = [f"{lost} not taken"] if lost else []
    if played.late:
        words.append(f"up to {played.latest:.1f} s late")
    return ", ".join(words)


def _quiet(_warning: str) -> None:
    """The survey said it."""
