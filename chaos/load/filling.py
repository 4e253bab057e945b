"""Fills what has a bound and no life, before a soak: a cache that is not full yet grows like a leak.

A gateway remembers what the labels of recent alerts said, so many of them and no more. Alerts that the policy denies
get there like any others, and leave no other trace.
"""

from __future__ import annotations

import aiohttp

from chaos.alerts import Problem, webhook
from chaos.load.ground import Ground
from chaos.sending import PATH

PLACES = 65_536
"""The different labels that a gateway remembers at most."""
BATCH = 500
"""Alerts of one webhook."""


class NotDenied(Exception):
    """The policy lets in what it is to deny."""


async def fill(ground: Ground, tag: str, *, left: int) -> None:
    """Sends denied alerts to each gateway until about `left` places are free; `tag` tells them from any others.

    The places that are left are taken while everything else fills up, so that all of it is at its most in the same
    moment. Raises `NotDenied`.
    """
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ground.tokens[0]}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=30)) as session:
        for target in ground.targets:
            for first in range(0, max(0, PLACES - left), BATCH):
                problems = [
                    Problem(ground.denied, "LoadFilling", f"{tag}-filling-{number}")
                    for number in range(first, first + BATCH)
                ]
                async with session.post(target.url + PATH, data=webhook(problems)) as answer:
                    if answer.status != 403:
                        raise NotDenied(f"{target.url} answered {answer.status}, and not 403")
                    await answer.read()
