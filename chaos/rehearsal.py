"""One scenario being played: the words in which its script is written.

A script marks its phases, sends, injects, waits for what it can see from outside, and says what must have been seen
(`must`). What holds for all scenarios (nothing lost, nothing counted twice, metrics and logs at work) is added by
`running`, after the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from chaos.alerts import Json, Problem
from chaos.exposition import Page
from chaos.injections import Injection
from chaos.rig.waiting import eventually
from chaos.scenario import Scenario
from chaos.sending import Answer, Load, Sender
from chaos.sight import Sight
from chaos.verdicts import Criterion, Figure, Limit, Span, Verdict
from chaos.ways import Way


class Rehearsal:
    """What a script has in its hands. All times are seconds on the clock of `sight`."""

    def __init__(
        self, scenario: Scenario, way: Way, sight: Sight, sender: Sender, verdict: Verdict, *, full: bool
    ) -> None:
        self.scenario = scenario
        self.way = way
        self.sight = sight
        self.sender = sender
        self.verdict = verdict
        self.full = full
        self._begun = time.time()

    # --- time

    def now(self) -> float:
        return self.sight.now()

    def time(self, full: float, short: float) -> float:
        """The original time of something, or its shortened one; the same for rates and numbers."""
        return full if self.full else short

    async def wait(self, full: float, short: float) -> None:
        """Let time pass, in which what goes on is watched."""
        await asyncio.sleep(self.time(full, short))

    async def until(self, holds: Callable[[], object], what: str, *, seconds: float) -> bool:
        """Whether it came to hold within that time. What does not come is for a criterion to say."""
        with contextlib.suppress(TimeoutError):
            await eventually(lambda: bool(holds()), what, seconds=seconds, every=0.1)
            return True
        return False

    # --- what is done

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[float]:
        """A part of the script, for the report's plots; yields its beginning."""
        span = Span(name, "phase", self.now())
        self.verdict.spans.append(span)
        yield span.begin
        span.end = self.now()

    @contextlib.asynccontextmanager
    async def injecting(self, injection: Injection) -> AsyncIterator[float]:
        """Do something to the gateway's world, and undo it; yields the moment at which it was done."""
        async with self.marked(injection.value) as begun:
            try:
                await self.way.begin(injection)
                yield begun
            finally:
                await self.way.end(injection)

    @contextlib.asynccontextmanager
    async def marked(self, name: str) -> AsyncIterator[float]:
        """A time in which something is done to the gateway's world, for the report; yields its beginning."""
        span = Span(name, "injection", self.now())
        self.verdict.spans.append(span)
        try:
            yield span.begin
        finally:
            span.end = self.now()

    # --- what is sent

    def problem(self, name: str, pod: str, *, severity: str = "critical") -> Problem:
        """A problem in the scenario's namespace. The same one is the same alert whenever it is sent."""
        return Problem(self.scenario.where, name, pod, severity, self._begun)

    def problems(self, name: str, numbers: range) -> list[Problem]:
        """Problems of as many pods."""
        return [self.problem(name, f"pod-{number}") for number in numbers]

    async def send(self, *problems: Problem, to: int | None = None) -> Answer:
        """One webhook, sent again until it is taken."""
        return await self.sender.deliver(*problems, to=to)

    async def everywhere(self, problem: Problem) -> None:
        """The same alert to each gateway at once."""
        await asyncio.gather(*(self.send(problem, to=number) for number in range(len(self.sight.targets))))

    @contextlib.asynccontextmanager
    async def load(
        self,
        rate: float,
        draw: Callable[[int], Sequence[Problem]] | None = None,
        *,
        headers: Callable[[int], Mapping[str, str]] | None = None,
    ) -> AsyncIterator[Load]:
        """Deliveries at a rate (a second) while the block lasts; it ends when all of them are taken."""
        load = Load(self.sender, draw or self.mixture, rate, headers)
        task = asyncio.create_task(load.run())
        try:
            yield load
            load.stop()
            await asyncio.wait_for(task, 120)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def mixture(self, number: int) -> list[Problem]:
        """Every second delivery a new problem, every second one that is known already."""
        if number % 2:
            return [self.problem("KnownTrouble", f"known-{number // 2 % 10}")]
        return [self.problem("FreshTrouble", f"fresh-{number}")]

    # --- what is seen

    async def requests(self) -> list[Json]:
        """The requests in the scenario's namespace."""
        return await self.way.kubernetes.requests(self.scenario.where)

    async def until_requests(self, number: int, *, seconds: float) -> bool:
        """Whether so many requests are in the scenario's namespace within that time."""
        deadline = self.now() + seconds
        while len(await self.requests()) < number:
            if self.now() > deadline:
                return False
            await asyncio.sleep(0.3)
        return True

    def ready_since(self, moment: float, gateway: int = 0) -> float | None:
        """Seconds after `moment` until a gateway that was not ready then is; None where it is not, or always was."""
        away = False
        for look in self.sight.looks:
            if look.gateway == gateway and look.at >= moment:
                away = away or not look.ready
                if away and look.ready:
                    return look.at - moment
        return None

    async def together(self, holds: Callable[[Page], bool], *, since: float, seconds: float) -> float | None:
        """Seconds after `since` until it held for all gateways at once; None where it did not come in time."""
        await self.until(
            lambda: self.sight.together(holds, since=since) is not None, "the gateways", seconds=seconds
        )
        return self.sight.together(holds, since=since)

    async def settled(self, *, seconds: float = 60) -> bool:
        """Whether all that was taken is in requests within that time, as far as the gateways know."""

        def quiet() -> bool:
            names = (
                "gateway_unconfirmed_alerts",
                "gateway_k8s_api_request_queue_depth",
                "gateway_storm_windows_open",
            )
            return all(found == 0 for name in names for found in self.sight.latest(name))

        since = self.now()
        await self.until(lambda: self.now() > since + 1 and quiet(), "all to be written", seconds=seconds)
        return quiet()

    # --- what must have been seen

    def must(
        self,
        what: str,
        measured: Figure,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        exactly: float | None = None,
        unit: str = "",
    ) -> None:
        """A criterion: what was measured, None where it never happened, and its bounds."""
        figure = None if measured is None else round(measured, 4)
        limit = Limit(at_least=at_least, at_most=at_most, exactly=exactly)
        self.verdict.criteria.append(Criterion(what, figure, limit, unit))

    def must_hold(self, what: str, *, when: object) -> None:
        """A criterion without a figure: `when` is true where it holds."""
        self.must(what, float(bool(when)), exactly=1)

    def found(self, text: str) -> None:
        """Something worth telling that breaks nothing."""
        self.verdict.findings.append(text)
