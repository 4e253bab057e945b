"""A campaign's folder as it was left: what is in it, typed; what is not, said.

Each part may be missing, since a campaign can break off anywhere and a foreign gateway shows less: it is None then, and
whoever needs it says that it is not there. A part that is there and cannot be read is an error (`Unreadable`), since a
report over half of it would look like one over all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chaos.delta.comparing import Delta, compare
from chaos.exposition import NotAnExposition, Page, Series, parse, series, value

WATCHED = frozenset(
    {
        "gateway_circuit_breaker_state",
        "gateway_recovery_duration_seconds_count",
        "gateway_recovery_duration_seconds_sum",
        "gateway_unconfirmed_alerts",
        "gateway_k8s_api_request_queue_depth",
    }
)
"""The metrics that are looked at over time: samples hold some hundred others, thousands of times."""


class Unreadable(Exception):
    """A folder that is none of a campaign, or a file in it that cannot be read; the message says which and why."""


class Phase(msgspec.Struct, frozen=True):
    """A stretch of the load."""

    name: str
    start: float
    end: float
    rate_from: float = 0.0
    rate_to: float = 0.0
    """Webhooks a second at its beginning and at its end."""


class Injection(msgspec.Struct, frozen=True):
    """A time in which something was made to fail."""

    name: str
    start: float
    end: float
    detail: Any = None


class Facts(msgspec.Struct, frozen=True):
    """`campaign.json`."""

    name: str
    started: float
    ended: float
    title: str = ""
    scale: float = 1.0
    seed: int | None = None
    commit: str = ""
    dirty: bool = False
    version: str = ""
    environment: dict[str, Any] = {}
    gateways: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    own: bool = True
    phases: list[Phase] = []
    injections: list[Injection] = []
    mix: dict[str, float] = {}
    workers: int = 1
    findings: list[str] = []
    """What was wrong when it ended, in words, whatever the figures are."""


class Attempt(msgspec.Struct, frozen=True):
    """A line of `requests.jsonl`: one request and its answer."""

    at: float
    kind: str
    id: str
    status: int
    """0 where no answer came."""
    ms: float
    lag_ms: float | None = None
    """By how much it was sent later than it was due."""
    attempt: int = 1
    alerts: int = 1
    outcome: str = ""
    error: str = ""


class Gateway(msgspec.Struct, frozen=True):
    """What a sample has of one gateway."""

    cpu_seconds: float | None = None
    rss_bytes: float | None = None
    fds: float | None = None
    threads: float | None = None
    tasks: float | None = None
    connections: float | None = None
    metrics: dict[str, float] = {}


class Dependency(msgspec.Struct, frozen=True):
    """What a sample has of Redis, of Kubernetes or of the sender."""

    cpu_seconds: float | None = None
    rss_bytes: float | None = None
    etcd_cpu_seconds: float | None = None
    used_memory: float | None = None
    keys: float | None = None
    clients: float | None = None
    commands: float | None = None


class Sample(msgspec.Struct, frozen=True):
    """A line of `samples.jsonl`."""

    at: float
    gateways: list[Gateway | None] = []
    redis: Dependency | None = None
    kubernetes: Dependency | None = None
    sender: Dependency | None = None


class Audit(msgspec.Struct, frozen=True, rename="camel"):
    """`audit.json`: what `gateway audit` found."""

    exit: int
    clean: bool = False
    deliveries: int | None = None
    fingerprints: int | None = None
    accepted: dict[str, int] = {}
    counted: int | None = None
    lost: int | None = None
    surplus: int | None = None
    open_twice: int | None = None
    faults: list[Any] = []
    error: str = ""
    """Why there is no judgement."""


Kind = TypeVar("Kind")


class Campaign:
    """One folder. Raises `Unreadable` where it has no `campaign.json`, and when a part is asked for that is spoiled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = self._document("campaign.json", Facts)
        if facts is None:
            raise Unreadable(f"{folder}: no campaign.json in it")
        self.facts = facts

    @property
    def seconds(self) -> float:
        return self.facts.ended - self.facts.started

    @property
    def disturbed(self) -> bool:
        """Something was made to fail on purpose."""
        return bool(self.facts.injections)

    @cached_property
    def attempts(self) -> Sequence[Attempt] | None:
        """Every request, in order of time."""
        found = self._lines("requests.jsonl", Attempt)
        return None if found is None else sorted(found, key=lambda one: one.at)

    @cached_property
    def webhooks(self) -> Sequence[Sequence[Attempt]] | None:
        """The attempts of each webhook, in their order."""
        if self.attempts is None:
            return None
        found: dict[str, list[Attempt]] = {}
        for one in self.attempts:
            found.setdefault(one.id, []).append(one)
        return [sorted(tries, key=lambda one: (one.attempt, one.at)) for tries in found.values()]

    @cached_property
    def samples(self) -> Sequence[Sample] | None:
        """What was seen about once a second, in order of time."""
        found = self._lines("samples.jsonl", Sample)
        return None if found is None else sorted(found, key=lambda one: one.at)

    @cached_property
    def pages(self) -> Sequence[tuple[float, Sequence[Page | None]]]:
        """(time, what is `WATCHED` of each gateway) of each sample; empty where there are none."""
        known: dict[str, Series] = {}
        return [
            (
                sample.at,
                [_page(one.metrics, known) if one and one.metrics else None for one in sample.gateways],
            )
            for sample in self.samples or ()
        ]

    @cached_property
    def deltas(self) -> Sequence[Delta] | None:
        """What happened at each gateway, by its metrics before and after; None where a pair is missing."""
        found: list[Delta] = []
        while (before := self.folder / f"before-{len(found)}.prom").exists():
            after = self.folder / f"after-{len(found)}.prom"
            if not after.exists():
                return None
            pages = []
            for path in (before, after):
                try:
                    pages.append(parse(path.read_text(encoding="utf-8")))
                except (OSError, UnicodeDecodeError, NotAnExposition) as error:
                    raise Unreadable(f"{path}: {error}") from error
            found.append(compare(*pages, seconds=self.seconds))
        return found or None

    @cached_property
    def audit(self) -> Audit | None:
        return self._document("audit.json", Audit)

    def grown(self, name: str, **labels: str) -> float | None:
        """The growth of a counter over all gateways; None where their metrics are missing."""
        return None if self.deltas is None else sum(delta.grown(name, **labels) for delta in self.deltas)

    def metric(self, name: str, **labels: str) -> Iterator[tuple[float, list[float | None]]]:
        """(time, the metric of each gateway) of each sample."""
        for at, pages in self.pages:
            yield at, [None if page is None else value(page, name, labels) for page in pages]

    def _document(self, name: str, kind: type[Kind]) -> Kind | None:
        path = self.folder / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise Unreadable(f"{path}: {error}") from error

    def _lines(self, name: str, kind: type[Kind]) -> list[Kind] | None:
        path = self.folder / name
        decoder = msgspec.json.Decoder(kind)
        found = []
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        try:
                            found.append(decoder.decode(line))
                        except msgspec.DecodeError as error:
                            raise Unreadable(f"{path}, line {number}: {error}") from error
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from error
        return found or None


def _page(metrics: dict[str, float], known: dict[str, Series]) -> Page:
    page = {}
    for text, number in metrics.items():
        if text.partition("{")[0] in WATCHED:
            found = known.get(text)
            if found is None:
                found = known[text] = series(text)
            page[found] = number
    return page
