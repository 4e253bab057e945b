"""A fifth of all calls fail, everywhere and at once, under load and with every check of the sender on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp

from chaos.alerts import Problem
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario

SHARE = 20
FAULTS = (
    {"target": "redis", "mode": "timeout"},
    {"target": "kubernetes", "mode": "error"},
    {"target": "webhook", "mode": "error"},
)
RATE = 20.0
FORBIDDEN = "kube-system"
ROUTE = "/v1/admin/chaos"


async def _play(r: Rehearsal) -> None:
    expired = await r.way.token("late", ttl=1)
    await asyncio.sleep(2)
    wrong = {11: f"Bearer {expired}", 13: "Bearer nobody's"}

    def draw(number: int) -> Sequence[Problem]:
        place = number % 20
        if place in wrong:
            return [r.problem("Smuggled", f"pod-{number}")]
        if place == 7:
            return [Problem(FORBIDDEN, "SystemTrouble", f"pod-{number}")]
        return r.mixture(number)

    def headers(number: int) -> Mapping[str, str]:
        return {"Authorization": wrong[number % 20]} if number % 20 in wrong else {}

    async with r.load(RATE, draw, headers=headers):
        with r.phase("baseline"):
            await r.wait(20, 3)
        began = r.now()
        async with _faults(r):
            await r.wait(600, 30)
        with r.phase("recovery"):
            await r.wait(20, 5)
    await r.settled()
    answers = r.sender.statuses
    r.must("answers 2xx", sum(n for status, n in answers.items() if 200 <= status < 300), at_least=1)
    r.must("answers 5xx", sum(n for status, n in answers.items() if status >= 500), at_least=1)
    held = await r.requests() + await r.way.kubernetes.requests(FORBIDDEN)
    smuggled = sum(one["spec"]["signalName"] in ("Smuggled", "SystemTrouble") for one in held)
    r.must("requests for alerts that were to be refused", smuggled, exactly=0)
    r.must("answers 401 and 403", answers[401] + answers[403], at_least=3)
    for name in ("policy_denials", "retries", "breaker_fastfail", "token_validations", "token_expirations"):
        metric = f"gateway_{name}_total"
        r.must(f"{metric} rises by", r.sight.increase(metric, since=began), at_least=1)


@contextlib.asynccontextmanager
async def _faults(r: Rehearsal) -> AsyncIterator[None]:
    """In every gateway, by its admin route; each fault would end by itself, too."""
    ttl = f"{r.time(660, 60):g}s"
    async with aiohttp.ClientSession(headers=r.way.admin_headers) as session:

        async def everywhere(method: str, path: str, body: object = None) -> None:
            for target in r.sight.targets:
                async with session.request(method, target.url + path, json=body) as answer:
                    answer.raise_for_status()

        async with r.marked("faults by the admin route"):
            for fault in FAULTS:
                await everywhere("POST", ROUTE, {**fault, "pct": SHARE, "ttl": ttl})
            try:
                yield
            finally:
                for fault in FAULTS:
                    await everywhere("DELETE", f"{ROUTE}/{fault['target']}")


SCENARIO = Scenario(
    number=8,
    name="mixed-chaos",
    title="A fifth of all calls fails, with every check on",
    proves="Under faults everywhere nothing passes a check that it would not pass on a good day, and nothing is lost.",
    play=_play,
    needs=Needs(tokens=True),
    ambiguous=True,
)
