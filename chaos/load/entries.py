"""What is noted of each attempt: a line of `requests.jsonl`, and one of `sent.jsonl` for each alert of it.

The latter's form is the one that `gateway audit --sent` reads. Each of Locust's workers writes files of its own; when
all have ended, they are merged in the order of time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from chaos.alerts import Json, stamp
from chaos.load.mix import Turn

FILES = ("requests", "sent")


class Attempt(NamedTuple):
    """One attempt to deliver a turn's webhook."""

    turn: Turn
    delivery: str
    number: int
    """From 1 on."""
    at: float
    """When it was sent, wall time."""
    lag: float
    """Seconds by which the first attempt was sent later than it was due."""
    seconds: float
    """Until the answer was there, or the sender knew that none would come."""
    status: int
    """0 where no answer came."""
    verdicts: Sequence[Json]
    """What the answer says of each alert; empty where it says nothing."""
    error: str
    connected: bool
    """False where nobody took the connection."""

    @property
    def outcome(self) -> str:
        """What became of its alerts, `mixed` where not of all the same, empty where nobody said."""
        outcomes = {str(one.get("outcome", "")) for one in self.verdicts}
        return outcomes.pop() if len(outcomes) == 1 else "mixed" if outcomes else ""


def request_line(attempt: Attempt) -> Json:
    """Its line of `requests.jsonl`."""
    return {
        "at": round(attempt.at, 6),
        "kind": attempt.turn.kind.value,
        "id": attempt.delivery,
        "attempt": attempt.number,
        "status": attempt.status,
        "ms": round(attempt.seconds * 1000, 3),
        "lag_ms": round(attempt.lag * 1000, 3),
        "alerts": len(attempt.turn.problems),
        "outcome": attempt.outcome,
        "error": attempt.error,
    }


def sent_lines(attempt: Attempt) -> list[Json]:
    """Its lines of `sent.jsonl`."""
    answered = stamp(attempt.at + attempt.seconds)
    verdicts = attempt.verdicts
    if len(verdicts) != len(attempt.turn.problems):
        verdicts = [{}] * len(attempt.turn.problems)
    lines = []
    for index, (problem, verdict) in enumerate(zip(attempt.turn.problems, verdicts, strict=True)):
        request = verdict.get("request")
        lines.append(
            {
                "time": stamp(attempt.at),
                "answered": answered,
                "delivery": attempt.delivery,
                "attempt": attempt.number,
                "index": index,
                "resolved": attempt.turn.resolved,
                "labels": problem.labels,
                "annotations": problem.annotations,
                "status": attempt.status or None,
                "outcome": verdict.get("outcome"),
                "fingerprint": verdict.get("fingerprint"),
                "request": f"{request['namespace']}/{request['name']}" if request else None,
                "connected": attempt.connected,
            }
        )
    return lines


class Writer:
    """The two files of one worker; lines go to the system with each attempt, and outlive a worker that is killed."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._files: list[IO[str]] = [
            (folder / f"{name}-{worker}.jsonl").open("w", encoding="utf-8") for name in FILES
        ]

    def write(self, attempt: Attempt) -> None:
        requests, sent = self._files
        requests.write(json.dumps(request_line(attempt)) + "\n")
        sent.writelines(json.dumps(line) + "\n" for line in sent_lines(attempt))
        requests.flush()
        sent.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()


def merge(folder: Path) -> None:
    """Makes one file of the workers' for each kind, in the order in which attempts began, and removes those."""
    keys: Mapping[str, Callable[[Json], Any]] = {"requests": itemgetter("at"), "sent": itemgetter("time")}
    for name in FILES:
        parts = sorted(folder.glob(f"{name}-*.jsonl"))
        lines = []
        for part in parts:
            with part.open(encoding="utf-8") as file:
                lines += [(keys[name](json.loads(line)), line) for line in file]
        lines.sort(key=itemgetter(0))
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(line for _, line in lines)
        for part in parts:
            part.unlink()
