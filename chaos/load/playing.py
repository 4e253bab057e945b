"""Plays one campaign from the first webhook to the audit, and leaves its folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from chaos.load import entries, machine
from chaos.load.auditing import audited
from chaos.load.controller import Controller
from chaos.load.filling import fill
from chaos.load.ground import Ground
from chaos.load.injecting import Injected, inject
from chaos.load.judging import judged
from chaos.load.locusts import Locusts
from chaos.load.plan import Plan
from chaos.load.redis_info import RedisInfo
from chaos.load.sampling import Sampler, metric, page, quiet
from chaos.load.shapes import Shape
from chaos.rig.progress import Progress

Say = Callable[[str], None]

REPEATED, COMPLETED, DELETED = 40.0, 60.0, 30.0
"""Seconds for which a problem is repeated, after which its request is completed, and after that deleted."""
LEAST = 0.1
"""The scale that these three follow at the least: under it an answer would come after the request was closed."""
RETRIED = 300.0
"""Seconds after which a delivery is given up."""
BEGINNING = 90.0
"""Seconds for Locust to begin."""
ENDING = 120.0
"""Seconds for its processes to end, after the last delivery was given up at the latest."""
SETTLING = 120.0
"""Seconds for everything to be confirmed after the last answer."""
BUSY = ("gateway_unconfirmed_alerts", "gateway_k8s_api_request_queue_depth", "gateway_storm_windows_open")


class BrokenOff(Exception):
    """A campaign could not be played to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for. `folder` is there, and holds nothing but logs."""

    shape: Shape
    scale: float
    duration: float | None
    seed: int
    workers: int
    folder: Path

    @property
    def pace(self) -> float:
        """By how much what happens to a request is quicker than at full length."""
        return min(1.0, max(self.scale, LEAST))


class Campaign:
    """One campaign on one ground."""

    def __init__(self, wish: Wish, ground: Ground, say: Say) -> None:
        self._wish = wish
        self._ground = ground
        self._say = say
        self._folder = wish.folder
        self._environment = machine.described(ground.shared)
        self._plan = Plan(
            campaign=wish.shape.name,
            scale=wish.scale,
            duration=wish.duration,
            seed=wish.seed,
            tag=f"{wish.shape.name}-{int(time.time()):x}",
            folder=str(wish.folder.absolute()),
            workers=wish.workers,
            urls=tuple(target.url for target in ground.targets),
            tokens=tuple(ground.tokens),
            namespace=ground.namespace,
            denied=ground.denied,
            repeated_for=REPEATED * wish.pace,
            retried_for=RETRIED,
        )
        self._sampler = Sampler(ground, wish.folder / "samples.jsonl", every=max(0.2, wish.pace))
        self._began = 0.0
        self._ended = 0.0
        self._injected: Sequence[Injected] = ()

    async def play(self) -> list[str]:
        """Plays it, and returns what is wrong: nothing, where everything accepted was counted exactly and nobody got in
        who may not. Raises `BrokenOff`.
        """
        if self._wish.shape.fills and self._ground.own:
            await fill(self._ground, self._plan.tag, left=self._wish.shape.filled_by)
        await self._keep_pages("before")
        async with _background(self._sampler.run()), self._controllers():
            await self._send()
            settled = await self._settle()
        await self._keep_pages("after")
        entries.merge(self._folder)
        audit = await audited(self._ground, self._folder)
        findings = judged(self._folder, audit)
        findings += [f"{name} fell" for name in self._ground.fallen()]
        if not settled:
            findings.append(f"the gateways were still busy {SETTLING:.0f} s after the last answer")
        await self._keep_facts(findings)
        return findings

    @contextlib.asynccontextmanager
    async def _controllers(self) -> AsyncIterator[None]:
        """Somebody completes and deletes requests. When it is over, what is stored stays as it is."""
        kubernetes = self._ground.kubernetes
        if kubernetes is None:
            yield
            return
        controller = Controller(
            kubernetes,
            self._ground.namespace,
            self._folder / "gone.jsonl",
            complete_after=COMPLETED * self._wish.pace,
            delete_after=DELETED * self._wish.pace,
        )
        tending = asyncio.create_task(controller.run())
        try:
            yield
        finally:
            controller.stop()
            await tending
        self._say(f"  controllers completed {controller.completed} requests and deleted {controller.deleted}")

    async def _send(self) -> None:
        locusts = Locusts(self._plan)
        try:
            locusts.start()
            self._began = await self._beginning(locusts)
            self._sampler.sender_pids = [one.pid for one in (locusts.master, *locusts.workers)]
            urls = self._plan.urls
            faults = inject(self._wish.shape.spells, self._began, urls, self._ground.admin_token, self._say)
            injecting = asyncio.create_task(faults)
            try:
                await self._watch(locusts, injecting)
                self._injected = await injecting
            finally:
                injecting.cancel()
                await asyncio.gather(injecting, return_exceptions=True)
        finally:
            await asyncio.to_thread(locusts.stop)
        self._ended = time.time()

    async def _beginning(self, locusts: Locusts) -> float:
        deadline = time.monotonic() + BEGINNING
        while locusts.alive and time.monotonic() < deadline:
            if (began := locusts.began()) is not None:
                return began
            await asyncio.sleep(0.1)
        raise BrokenOff("; ".join(["Locust did not begin", *locusts.failed()]))

    async def _watch(self, locusts: Locusts, injecting: asyncio.Task[list[Injected]]) -> None:
        """Until Locust has ended well."""
        shape, progress = self._wish.shape, Progress(every=30.0)
        deadline = self._began + shape.seconds + self._plan.retried_for + ENDING
        while locusts.alive:
            if time.time() > deadline:
                raise BrokenOff("Locust did not end")
            if injecting.done() and (failure := injecting.exception()):
                raise BrokenOff(f"the faults could not be injected: {failure!r}")
            progress(self._doing(time.time() - self._began))
            await asyncio.sleep(0.25)
        progress.done(f"  sent what was planned in {time.time() - self._began:.0f} s")
        if failed := locusts.failed():
            raise BrokenOff("; ".join(failed))

    def _doing(self, after: float) -> str:
        """One line on what goes on."""
        shape, sample = self._wish.shape, self._sampler.latest
        gateways = [one["metrics"] for one in sample["gateways"]] if sample else []
        taken = sum(one.get("gateway_alerts_received_total", 0.0) for one in gateways)
        breakers = [
            series.partition('component="')[2].partition('"')[0]
            for one in gateways
            for series, value in one.items()
            if series.startswith("gateway_circuit_breaker_state{") and value == 1
        ]
        now = f"{shape.rate(after):.0f} a second" if after < shape.seconds else "the last answers"
        return (
            f"{shape.name} {max(0.0, after):.0f} of {shape.seconds:.0f} s: {now}, "
            f"{taken:.0f} alerts received, {metric(sample, BUSY[0]):.0f} unconfirmed"
            + (f", breaker open: {', '.join(breakers)}" if breakers else "")
        )

    async def _settle(self) -> bool:
        """Whether everything accepted was confirmed in time, and no window was left open."""
        deadline, asked = time.monotonic() + SETTLING, time.time()
        while time.monotonic() < deadline:
            sample = self._sampler.latest
            if sample is not None and sample["at"] > asked and quiet(sample, BUSY):
                return True
            await asyncio.sleep(0.25)
        return False

    async def _keep_pages(self, when: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            for place, target in enumerate(self._ground.targets):
                text = await page(session, target)
                if text is None:
                    raise BrokenOff(f"{target.metrics_url} has no metrics")
                (self._folder / f"{when}-{place}.prom").write_text(text, encoding="utf-8")

    async def _keep_facts(self, findings: Sequence[str]) -> None:
        wish, ground = self._wish, self._ground
        commit, dirty = machine.commit()
        start = self._began
        phases = []
        for phase in wish.shape.phases:
            phases.append(
                {
                    "name": phase.name,
                    "start": start,
                    "end": start + phase.seconds,
                    "rate_from": phase.rate_from,
                    "rate_to": phase.rate_to,
                }
            )
            start += phase.seconds
        facts: dict[str, Any] = {
            "name": wish.shape.name,
            "title": wish.shape.title,
            "scale": wish.scale,
            "started": self._began,
            "ended": self._ended,
            "seed": wish.seed,
            "commit": commit,
            "dirty": dirty,
            "version": _version((self._folder / "before-0.prom").read_text(encoding="utf-8")),
            "environment": {**self._environment, **await self._components()},
            "gateways": [{"url": one.url, "metrics_url": one.metrics_url} for one in ground.targets],
            "settings": ground.settings,
            "own": ground.own,
            "phases": phases,
            "injections": [
                {"name": one.name, "start": one.start, "end": one.end, "detail": {"faults": one.faults}}
                for one in self._injected
            ],
            "mix": {kind.value: share for kind, share in self._plan.shares.items()},
            "workers": wish.workers,
            "findings": list(findings),
            "exit": 1 if findings else 0,
        }
        (self._folder / "campaign.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    async def _components(self) -> dict[str, str]:
        """Versions of what the gateways depend on, where it can be asked."""
        found = {}
        if self._ground.redis is not None:
            with contextlib.closing(RedisInfo(self._ground.redis.port)) as redis:
                found["redis"] = redis.version()
        if self._ground.kubernetes is not None:
            _, version = await self._ground.kubernetes.call("GET", "/version")
            found["kubernetes"] = str(version.get("gitVersion", ""))
        return found


def _version(text: str) -> str:
    """Of the gateway whose metrics these are."""
    _, _, rest = text.partition("gateway_build_info{")
    return rest.partition('version="')[2].partition('"')[0]


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs beside what is done in the context, and is cancelled at its end; raises what it raised before that."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
