"""The open windows of a running gateway, by its `/v1/storms`: for `gateway storms`, the audit and the demo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import aiohttp
import msgspec

from gateway.cli.output import CommandError, Exit

_LIMIT = aiohttp.ClientTimeout(total=5)


class Window(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One window that collects. The times are RFC 3339, by the clock of the gateway's Redis."""

    id: str
    group: str
    state: str
    """`holding` below the threshold, `storming` from it on."""
    members: int
    threshold: int
    opened_at: str
    last_member_at: str
    due_at: str
    due_in: float
    """Seconds until it ends, when it was asked; below 0 where its end is about to be noticed."""
    spilled: int

    @property
    def open_for(self) -> float:
        """Seconds since it opened, without this machine's clock."""
        opened, due = datetime.fromisoformat(self.opened_at), datetime.fromisoformat(self.due_at)
        return (due - opened) / timedelta(seconds=1) - self.due_in


class Windows(msgspec.Struct, frozen=True):
    """The answer of `/v1/storms`: the next to end first."""

    windows: list[Window]


_decode = msgspec.json.Decoder(Windows).decode


class Asking:
    """Asks one gateway, over one session."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def windows(self) -> list[Window]:
        """Return the windows that collect now. Raises `CommandError` where the gateway does not tell."""
        try:
            async with self._session.get(f"{self._url}/v1/storms", allow_redirects=False) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as reason:
            raise CommandError(
                f"no answer from {self._url}: {str(reason) or 'not in time'}",
                hint="Start a gateway (`gateway dev` has everything embedded), or say where it is with --url.",
                exit_code=Exit.UNREACHABLE,
            ) from reason
        if response.status != 200:
            raise CommandError(
                f"{self._url} does not tell its windows: {response.status} {_detail(body)}".rstrip(),
                hint="Give a token with --token or GATEWAY_TOKEN." if response.status == 401 else "",
                exit_code=Exit.UNREACHABLE,
            )
        try:
            return _decode(body).windows
        except (msgspec.MsgspecError, UnicodeDecodeError) as reason:
            raise CommandError(
                f"{self._url} does not answer as a gateway does: {reason}", exit_code=Exit.UNREACHABLE
            ) from reason


@asynccontextmanager
async def asking(url: str, token: str | None = None) -> AsyncIterator[Asking]:
    """What asks the gateway at `url` for its windows, while the block runs."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers, timeout=_LIMIT) as session:
        yield Asking(session, url)


def _detail(body: bytes) -> str:
    """What a `problem+json` says."""
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return str(problem.get("detail") or "")[:300] if isinstance(problem, dict) else ""
