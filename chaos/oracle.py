"""The judge: what senders were told, against what Kubernetes holds. Pure, and by its own reading of both.

It knows problems by their labels (`alerts.Key`), computes no fingerprint, and reads a request as its documents say:
an own one by `spec.signalLabels` and `spec.deduplication.occurrenceCount`, an aggregated one by the members in its
`providerData`, each with its labels laid over those that all have in common.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.alerts import Json, Key

NOT_COUNTED = {"denied", "invalid", "resolved"}
"""Outcomes of an answered webhook that leave nothing in Kubernetes."""
CLOSED = {"Completed", "Failed", "Cancelled", "TimedOut", "Skipped"}


@dataclass(frozen=True, slots=True)
class Room:
    """Which refused deliveries may have been counted in part, and again when they came back.

    A body with several alerts can be taken in part before it is refused. The note of that is in Redis and in the
    process's memory; where both may be lost, each refusal leaves room for one occurrence more, never for one less.
    """

    notes_lost: bool = False
    """Redis failed, or forgot."""
    deaths: bool = False
    """A gateway ended, and with it the notes in its memory."""


@dataclass(slots=True)
class Owed:
    """How many occurrences of one problem the requests must hold: from `low` to `high`."""

    low: int = 0
    high: int = 0


@dataclass(slots=True)
class Held:
    """What the requests hold of one problem."""

    count: int = 0
    open: list[str] = field(default_factory=list)
    """Names of open requests that hold it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found."""

    accepted: int
    """Occurrences that were answered 2xx: they must be there."""
    unclear: int
    """Occurrences that may be there or not: no answer, or a refusal that leaves room."""
    counted: int
    lost: int
    surplus: int
    open_twice: int
    """Problems in two open requests at once."""
    findings: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return not (self.lost or self.surplus or self.contradictory)

    @property
    def contradictory(self) -> bool:
        """Whether a request contradicts itself or cannot be read."""
        return any(finding.startswith("contradiction") for finding in self.findings)


def owed(lines: Iterable[Mapping[str, Any]], room: Room) -> dict[Key, Owed]:
    """What the log of all attempts leaves open, for each problem."""
    sequences: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for line in lines:
        sequences[line["delivery"], line["index"]].append(line)
        sizes[line["delivery"]] = max(sizes[line["delivery"]], line["index"] + 1)
    found: dict[Key, Owed] = defaultdict(Owed)
    for (delivery, _), attempts in sequences.items():
        one = found[Key.of(attempts[0]["labels"])]
        for attempt in attempts:
            status = attempt["status"]
            if status is None:
                one.high += attempt["connected"]
            elif 200 <= status < 300:
                if attempt["outcome"] not in NOT_COUNTED:
                    one.low += 1
                    one.high += 1
            elif status >= 500 and (room.deaths or (room.notes_lost and sizes[delivery] > 1)):
                one.high += 1
    return found


def held(requests: Iterable[Json]) -> tuple[dict[Key, Held], list[str]]:
    """What requests hold, for each problem; and which of them contradict themselves."""
    found: dict[Key, Held] = defaultdict(Held)
    faults = []
    for request in requests:
        name = request["metadata"]["name"]
        spec = request["spec"]
        total = int(spec["deduplication"]["occurrenceCount"])
        try:
            parts = _members(spec) if spec.get("isStorm") else [(Key.of(spec["signalLabels"]), total)]
        except (ValueError, LookupError, TypeError, binascii.Error) as error:
            faults.append(f"contradiction: {name} cannot be read: {error!r}")
            continue
        if sum(count for _, count in parts) != total:
            faults.append(
                f"contradiction: {name} counts {total}, its members {sum(count for _, count in parts)}"
            )
        if len({key for key, _ in parts}) != len(parts):
            faults.append(f"contradiction: {name} has a member twice")
        is_open = (request.get("status") or {}).get("overallPhase") not in CLOSED
        for key, count in parts:
            found[key].count += count
            if is_open:
                found[key].open.append(name)
    return found, faults


def _members(spec: Json) -> list[tuple[Key, int]]:
    """The members of an aggregated request and how often each fired. Raises what reading broken data raises."""
    data = json.loads(base64.b64decode(spec["providerData"], validate=True))
    return [
        (Key.of({**spec["signalLabels"], **member["labels"]}), int(member["occurrences"]))
        for member in data["members"]
    ]


def judge(lines: Iterable[Mapping[str, Any]], requests: Iterable[Json], room: Room) -> Judgement:
    """The judgement over all that was sent and all that is there."""
    wanted = owed(lines, room)
    there, findings = held(requests)
    lost = surplus = twice = 0
    for key in sorted(wanted.keys() | there.keys()):
        limits, one = wanted.get(key, Owed()), there.get(key, Held())
        missing, more = max(0, limits.low - one.count), max(0, one.count - limits.high)
        lost, surplus = lost + missing, surplus + more
        if missing or more:
            allowed = f"{limits.low}" if limits.low == limits.high else f"{limits.low} to {limits.high}"
            findings.append(
                f"{'lost' if missing else 'too many'}: {'/'.join(key)}: {one.count} instead of {allowed}"
            )
        if len(one.open) > 1:
            twice += 1
            findings.append(f"two open requests: {'/'.join(key)}: {', '.join(one.open)}")
    return Judgement(
        accepted=sum(one.low for one in wanted.values()),
        unclear=sum(one.high - one.low for one in wanted.values()),
        counted=sum(one.count for one in there.values()),
        lost=lost,
        surplus=surplus,
        open_twice=twice,
        findings=tuple(findings),
    )


def read_log(path: Path) -> list[Json]:
    """The lines of a log of what was sent."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
