"""What the gateways show while something is done to them: their metrics and health, looked at all the time.

Times are seconds on the rehearsal's clock, which begins at 0. A counter that falls has begun anew with its process:
increases are summed up over such restarts, as Prometheus does it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from chaos.exposition import Page, Reader, Series, value

BREAKER = "gateway_circuit_breaker_state"
EVERY = 0.2
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a gateway is."""

    name: str
    url: str
    metrics_url: str


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one gateway; `page` is None where its metrics did not answer."""

    at: float
    gateway: int
    page: Page | None
    alive: bool
    """Whether `/healthz` answered 200."""
    ready: bool
    """Whether `/readyz` answered 200."""


class Sight:
    """All that was seen of some gateways."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = list(targets)
        self.looks: list[Look] = []
        self._readers = [Reader() for _ in self.targets]
        self._began = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._began

    async def look(self) -> None:
        """Runs until cancelled."""
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            for number in range(len(self.targets)):
                tasks.create_task(self._follow(session, number))

    async def _follow(self, session: aiohttp.ClientSession, number: int) -> None:
        target = self.targets[number]
        while True:
            page = await _get(session, f"{target.metrics_url}/metrics")
            alive = await _get(session, f"{target.url}/healthz") is not None
            ready = await _get(session, f"{target.url}/readyz") is not None
            read = None if page is None else self._readers[number].read(page)
            self.looks.append(Look(self.now(), number, read, alive, ready))
            await asyncio.sleep(EVERY)

    # --- gauges

    def latest(self, name: str, **labels: str) -> list[float]:
        """The newest value of each gateway; NaN where none was seen."""
        found = [math.nan] * len(self.targets)
        for look in self.looks:
            if look.page is not None:
                found[look.gateway] = value(look.page, name, labels)
        return found

    def highest(
        self, name: str, *, since: float = 0.0, until: float = math.inf, **labels: str
    ) -> float | None:
        """The highest value of any gateway in that time; None where none was seen."""
        return max(
            (value(page, name, labels) for _, _, page in self._pages(since, until)),
            default=None,
        )

    def first(
        self, holds: Callable[[Page], bool], *, since: float, gateways: Sequence[int] | None = None
    ) -> float | None:
        """Seconds after `since` until it held for each gateway at least once; None where it never did for one."""
        seen: dict[int, float] = {}
        for at, number, page in self._pages(since, math.inf):
            if number not in seen and holds(page):
                seen[number] = at - since
        wanted = range(len(self.targets)) if gateways is None else gateways
        return max(seen[number] for number in wanted) if all(number in seen for number in wanted) else None

    def together(self, holds: Callable[[Page], bool], *, since: float) -> float | None:
        """Seconds after `since` until it held for all gateways in the same moment; None where it never did."""
        state: dict[int, bool] = {}
        for at, number, page in self._pages(since, math.inf):
            state[number] = holds(page)
            if len(state) == len(self.targets) and all(state.values()):
                return at - since
        return None

    # --- counters

    def increase(self, name: str, *, since: float = 0.0, until: float = math.inf, **labels: str) -> float:
        """By how much a counter grew in that time, over all gateways."""
        return sum(self.increases(name, since=since, until=until, **labels))

    def increases(
        self, name: str, *, since: float = 0.0, until: float = math.inf, **labels: str
    ) -> list[float]:
        """The same for each gateway."""
        return self._increases(name, labels, since, until)

    def _increases(
        self, name: str, labels: Mapping[str, str], since: float = 0.0, until: float = math.inf
    ) -> list[float]:
        grown = [0.0] * len(self.targets)
        before: dict[int, float] = {}
        for at, number, page in self._pages(0.0, until):
            seen = value(page, name, labels)
            if at >= since and number in before:
                grown[number] += seen - before[number] if seen >= before[number] else seen
            before[number] = seen
        return grown

    def rise(self, name: str, *, since: float, **labels: str) -> float | None:
        """Seconds after `since` until a counter had grown in each gateway; None where it did not in one."""
        before = [0.0] * len(self.targets)
        for _, number, page in self._pages(0.0, since):
            before[number] = value(page, name, labels)
        seen: dict[int, float] = {}
        for at, number, page in self._pages(since, math.inf):
            if number not in seen and value(page, name, labels) > before[number]:
                seen[number] = at - since
        return max(seen.values()) if len(seen) == len(self.targets) else None

    def buckets(self, name: str, *, since: float = 0.0) -> dict[float, float]:
        """Upper bound → what a histogram's own bucket got, over all gateways, where it got anything."""
        cumulated = {
            float(bound): count for bound, count in self.by_label(f"{name}_bucket", "le", since=since).items()
        }
        found, below = {}, 0.0
        for bound in sorted(cumulated):
            if cumulated[bound] > below:
                found[bound] = cumulated[bound] - below
            below = cumulated[bound]
        return found

    def by_label(self, name: str, label: str, *, since: float = 0.0) -> Mapping[str, float]:
        """The increase of each value of a label, where there was one."""
        values = {
            dict(series.labels).get(label)
            for look in self.looks
            for series in (look.page or ())
            if series.name == name
        }
        grown = {one: sum(self._increases(name, {label: one}, since)) for one in values if one is not None}
        return {one: found for one, found in sorted(grown.items()) if found}

    # --- what was missing

    def gaps(self) -> list[Look]:
        """Looks that met no metrics, or a process that did not call itself alive."""
        return [look for look in self.looks if look.page is None or not look.alive]

    def lines(self, read: Callable[[Page], float]) -> Iterator[tuple[float, float]]:
        """(time, sum over the gateways) of what is read from their pages, as a plot wants it."""
        current = [0.0] * len(self.targets)
        for at, number, page in self._pages(0.0, math.inf):
            current[number] = read(page)
            yield at, sum(current)

    def _pages(self, since: float, until: float) -> Iterator[tuple[float, int, Page]]:
        for look in self.looks:
            if since <= look.at <= until and look.page is not None:
                yield look.at, look.gateway, look.page


def opened(component: str) -> Callable[[Page], bool]:
    """Whether the breaker before a component is not closed."""
    series = Series(BREAKER, (("component", component),))
    return lambda page: page.get(series, 0.0) != 0.0


def closed(component: str) -> Callable[[Page], bool]:
    """Whether it is closed."""
    series = Series(BREAKER, (("component", component),))
    return lambda page: page.get(series, 1.0) == 0.0


async def _get(session: aiohttp.ClientSession, url: str) -> str | None:
    """The text of a page; None where it does not answer 200."""
    try:
        async with session.get(url) as answer:
            text = await answer.text()
            return text if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None
