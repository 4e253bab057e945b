"""The log of `gateway send --output`, which `gateway audit --sent` reads: what was sent, and what was answered.

JSON lines, one for each attempt to deliver one alert. The format is a contract: other load generators may write it,
and other tools read it.

    {"time": "…Z", "answered": "…Z", "delivery": "…", "attempt": 1, "index": 0, "resolved": false,
     "labels": {…}, "annotations": {…}, "status": 202, "outcome": "duplicate", "fingerprint": "…",
     "request": "prod-api/rr-…-1", "detail": null, "connected": true}

`delivery` names a webhook body: attempts that repeat the identical body have it in common, and `attempt` numbers
them from 1. `index` is the alert's place in the webhook. `status` is null where no answer came; then `outcome` and
`fingerprint` are null too, and the audit finds out by the labels whose alert it was. `connected` is false where
nobody took the connection: then nothing was sent. A log without it is read as if everything was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from gateway.cli.output import CommandError, warn


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver one alert."""

    time: str
    """When it was sent: UTC, fixed width, so that times compare as text."""
    answered: str
    """When the answer had come, or the sender gave up waiting."""
    delivery: str
    attempt: int = 1
    index: int = 0
    resolved: bool = False
    """The alert was sent with status `resolved`."""
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    status: int | None = None
    """HTTP status; None where no answer came, or none that could be read whole."""
    outcome: str | None = None
    fingerprint: str | None = None
    request: str | None = None
    """`namespace/name` of the request, where the answer named one."""
    detail: str | None = None
    connected: bool = True
    """False where not even a connection came about, so that the alert cannot have been counted."""


class Writer:
    """Appends attempts to a log file. A file that exists is continued, since its requests still count what it says."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("ab")
        except OSError as reason:
            raise CommandError(f"cannot write {path}: {reason.strerror}") from reason
        self._encoder = msgspec.json.Encoder()

    def write(self, attempts: list[Attempt]) -> None:
        """Append the attempts of one answer, and hand them to the system: they outlive a killed sender."""
        self._file.write(self._encoder.encode_lines(attempts))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Attempt]:
    """Yield the attempts of a log, in its order.

    A last line without an end is what a killed sender leaves; it is left out with a warning. Any other line that is
    no attempt raises `CommandError`, as a judgement without it would be wrong.
    """
    decoder = msgspec.json.Decoder(Attempt)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield decoder.decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as reason:
                    if not line.endswith(b"\n"):
                        warn(f"{path}:{number}: the last line is incomplete, and left out")
                        continue
                    raise CommandError(
                        f"{path}:{number}: no line of a send log: {reason}",
                        hint="--sent takes files that `gateway send --output FILE` wrote.",
                    ) from reason
    except OSError as reason:
        raise CommandError(f"cannot read {path}: {reason.strerror}") from reason
