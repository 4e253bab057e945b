"""Faults on a schedule, through the gateways' own admin route."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from chaos.alerts import Json
from chaos.load.shapes import Spell

ROUTE = "/v1/admin/chaos"
SPARE = 30.0
"""Seconds after which a fault ends by itself where nobody ends it."""


@dataclass(frozen=True, slots=True)
class Injected:
    """A spell as it was."""

    name: str
    start: float
    end: float
    faults: Sequence[Json]


async def inject(
    spells: Sequence[Spell],
    began: float,
    urls: Sequence[str],
    token: str,
    told: Callable[[str], None],
) -> list[Injected]:
    """Plays the spells from wall time `began` on, in every gateway, and returns those that had faults.

    Raises what aiohttp raises, for example where a gateway does not let its faults be injected. Whatever happens,
    nothing of it is left acting.
    """
    done: list[Injected] = []
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, raise_for_status=True) as session:
        for spell in spells:
            ends = began + spell.seconds
            await asyncio.sleep(began - time.time())
            if spell.faults:
                told(f"fault: {spell.name}")
                ttl = f"{spell.seconds + SPARE:.0f}s"
                start = time.time()
                try:
                    for url in urls:
                        for fault in spell.faults:
                            await _ask(session, "POST", url + ROUTE, {**fault, "ttl": ttl})
                    await asyncio.sleep(ends - time.time())
                finally:
                    await _end(session, spell, urls)
                done.append(Injected(spell.name, start, time.time(), [dict(one) for one in spell.faults]))
            began = ends
    return done


async def _end(session: aiohttp.ClientSession, spell: Spell, urls: Sequence[str]) -> None:
    """Ends the faults of a spell in every gateway, whatever one of them says to it; then raises the first failure."""
    failures: list[Exception] = []
    for url in urls:
        for fault in spell.faults:
            try:
                await _ask(session, "DELETE", f"{url}{ROUTE}/{fault['target']}")
            except (aiohttp.ClientError, TimeoutError) as error:
                failures.append(error)
    if failures:
        raise failures[0]


async def _ask(session: aiohttp.ClientSession, method: str, url: str, body: Json | None = None) -> None:
    async with session.request(method, url, json=body) as answer:
        await answer.read()
