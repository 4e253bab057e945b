"""Whether a running gateway has anything left to do, by its `/v1/status`."""

from __future__ import annotations

from typing import Any

import aiohttp

_LIMIT = aiohttp.ClientTimeout(total=5)


async def idle(url: str, token: str | None = None) -> bool:
    """Whether the gateway says that nothing is queued or unconfirmed. One that does not answer is not idle."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=_LIMIT) as session,
            session.get(f"{url}/v1/status") as response,
        ):
            status = await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False
    return isinstance(status, dict) and is_idle(status)


def is_idle(status: dict[str, Any]) -> bool:
    """Whether a status has nothing unconfirmed and nothing queued; what it does not say counts as nothing."""
    return not (_figure(status, "unconfirmed") or _figure(status, "queue", "depth"))


def _figure(status: Any, *path: str) -> int:
    for key in path:
        status = status.get(key) if isinstance(status, dict) else None
    return status if isinstance(status, int) else 0
