"""What senders were told, against what Kubernetes holds, where notes of refused deliveries may be lost as well.

`gateway audit` counts a delivery that was refused and then taken once, since the gateway notes what it took of a body
that it answers with 503. Notes are the one thing that a fault may cost: PROTOCOL, "What remains", lets such a delivery
count or not. So where notes can be lost each refusal leaves room for one occurrence more, and never for one less.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.rig.api import Api
from gateway.cli.sentlog import Attempt, read
from tests.integration.commands import gateway


@dataclass(frozen=True)
class Room:
    """Which refusals leave room for an occurrence more.

    A body with several alerts may have been taken in part, and the note of that is lost where Redis is. What became of
    a single alert its process knows without a note, as long as it lives.
    """

    notes_lost: bool = False
    """Redis failed in some way, or forgot."""
    deaths: bool = False
    """A gateway ended, and with it the notes in its memory and the numbers that it had sent without an answer."""


@dataclass(frozen=True)
class Judgement:
    """What was found over one namespace."""

    accepted: int
    """Answered 2xx: counted for certain."""
    unanswered: int
    """May each count or not: no answer came, or none after a refusal."""
    counted: int
    lost: int
    surplus: int
    """Beyond what any answer leaves open."""
    counted_again: int
    """Of refused deliveries whose notes were lost."""
    open_twice: int
    """Problems in two open requests at once, which PROTOCOL leaves while replicas saw differently."""
    faults: tuple[str, ...]
    """Objects that contradict themselves."""
    findings: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Nothing lost, nothing too many, nothing contradictory."""
        return not (self.lost or self.surplus or self.faults)

    def __str__(self) -> str:
        told = f"{self.accepted} accepted, {self.unanswered} unanswered, {self.counted} counted"
        for number, what in (
            (self.lost, "LOST"),
            (self.surplus, "TOO MANY"),
            (len(self.faults), "CONTRADICTIONS"),
            (self.counted_again, "counted again after a refusal whose note was lost"),
            (self.open_twice, "problems in two open requests, counted right"),
        ):
            if number:
                told += f", {number} {what}"
        return told


async def judged(log: Path, cluster: Api, *, room: Room, seconds: float = 60) -> Judgement:
    """The judgement once it is exact; else the one after so many seconds, in which nothing got better."""
    deadline = time.monotonic() + seconds
    while True:
        found = await asyncio.to_thread(_look, log, cluster, room)
        if found.exact or time.monotonic() > deadline:
            return found
        await asyncio.sleep(1)


def refusals(attempts: Iterable[Attempt], room: Room) -> Counter[str]:
    """Fingerprint → for how many occurrences more its refused deliveries leave room."""
    sequences: dict[tuple[str, int], list[Attempt]] = defaultdict(list)
    alerts: Counter[str] = Counter()
    for attempt in attempts:
        sequences[attempt.delivery, attempt.index].append(attempt)
        alerts[attempt.delivery] = max(alerts[attempt.delivery], attempt.index + 1)
    found: Counter[str] = Counter()
    for (delivery, _), sequence in sequences.items():
        fingerprint = next((one.fingerprint for one in sequence if one.fingerprint), None)
        if fingerprint is not None and (room.deaths or (room.notes_lost and alerts[delivery] > 1)):
            found[fingerprint] += sum(one.status == 503 for one in sequence)
    return found


def _look(log: Path, cluster: Api, room: Room) -> Judgement:
    done = gateway("audit", "--sent", str(log), "--kubeconfig", str(cluster.kubeconfig), "--output", "json")
    assert done.stdout, done.stderr
    return weighed(json.loads(done.stdout), refusals(read(log), room))


def weighed(report: dict[str, Any], room: Counter[str]) -> Judgement:
    """An audit's report, once the room that refusals leave is taken off what it finds too many."""
    surplus = again = 0
    findings = []
    for finding in report["findings"]:
        more = max(0, finding["difference"])
        forgiven = min(more, room[finding["fingerprint"] or ""])
        surplus, again = surplus + more - forgiven, again + forgiven
        if finding["difference"] < 0 or more > forgiven:
            findings.append(json.dumps(finding))
    accepted = report["accepted"]
    return Judgement(
        accepted=accepted["low"],
        unanswered=accepted["high"] - accepted["low"],
        counted=report["counted"],
        lost=report["lost"],
        surplus=surplus,
        counted_again=again,
        open_twice=report["openTwice"],
        faults=tuple(f"{fault['request']}: {fault['fault']}" for fault in report["faults"]),
        findings=tuple(findings),
    )
