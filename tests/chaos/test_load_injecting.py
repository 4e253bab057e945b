"""Faults on a schedule: whatever happens, nothing of them is left acting that could be ended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from chaos.load.injecting import ROUTE, inject
from chaos.load.shapes import Spell
from chaos.rig.ports import free_port

BOTH = Spell("both", 0.05, ({"target": "redis", "mode": "error"}, {"target": "kubernetes", "mode": "error"}))


@pytest.fixture
async def asked() -> AsyncIterator[tuple[str, list[str]]]:
    """Where a gateway's admin route is played that does not end faults of Redis, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        target = request.match_info.get("target") or (await request.json())["target"]
        asked.append(f"{request.method} {request.match_info['gateway']} {target}")
        refuses = request.method == "DELETE" and target == "redis"
        return web.Response(status=500 if refuses else 200)

    app, port = web.Application(), free_port()
    app.add_routes(
        [web.post(f"/{{gateway}}{ROUTE}", answer), web.delete(f"/{{gateway}}{ROUTE}/{{target}}", answer)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}", asked
    finally:
        await runner.cleanup()


async def test_where_one_fault_cannot_be_ended_the_others_are_and_it_is_said(
    asked: tuple[str, list[str]],
) -> None:
    url, found = asked
    with pytest.raises(aiohttp.ClientResponseError, match="500"):
        await inject([BOTH], time.time(), [f"{url}/a", f"{url}/b"], "", print)

    faults = [f"{gateway} {target}" for gateway in "ab" for target in ("redis", "kubernetes")]
    assert found == [*(f"POST {one}" for one in faults), *(f"DELETE {one}" for one in faults)]
