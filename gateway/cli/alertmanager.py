"""Asks an Alertmanager what fires: its API v2, as versions 0.28 to 0.34 answer it.

Everything is asked for, also what is silenced, inhibited or muted: such an alert notifies nobody, but it still fires,
and whoever compares must be able to tell the two apart.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from gateway.cli.output import CommandError, Exit, printable

_LIMIT = aiohttp.ClientTimeout(total=60, connect=5)
_EXCERPT = 200

Answer = TypeVar("Answer")


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that fires there."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    """As Alertmanager writes it: RFC 3339, with milliseconds."""
    receivers: tuple[str, ...]
    """Who is notified of it, by the routes."""
    suppressed: tuple[str, ...] = ()
    """Why nobody is notified at the moment: of `silenced`, `inhibited` and `muted` (by a time interval)."""
    unprocessed: bool = False
    """It has only just come in, and is in no group yet."""


class _Named(msgspec.Struct):
    name: str


class _Status(msgspec.Struct, rename="camel"):
    state: str
    silenced_by: list[str] = []
    inhibited_by: list[str] = []
    muted_by: list[str] = []
    """Filled only in groups, and only from 0.28 on."""


class _Alert(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    starts_at: str
    fingerprint: str
    status: _Status
    receivers: list[_Named]
    annotations: dict[str, str] = {}


class _Group(msgspec.Struct):
    receiver: _Named
    alerts: list[_Alert]


class Alertmanager:
    """One Alertmanager by its base URL, which may hold `user:password@`; `token` is for bearer authentication.

    Everything that goes wrong becomes a `CommandError` for exit code 3 that names the URL without the password.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        given = URL(url)
        self._url = given.with_user(None)
        self._headers = {}
        if given.user:
            pair = f"{given.user}:{given.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        elif token:
            self._headers["Authorization"] = f"Bearer {token}"
        self.shown = str(self._url).rstrip("/")
        """The URL as it may be printed."""

    async def firing(self, receivers: Collection[str] = ()) -> list[Firing]:
        """Return what fires, of all routes. With `receivers`, an alert counts as muted if all of theirs mute it.

        Raises `CommandError` as said above, and for exit code 2 where one of the receivers does not exist there.
        """
        async with self._session() as session:
            if receivers:
                known = {one.name for one in await self._get(session, "receivers", list[_Named])}
                if strange := sorted(set(receivers) - known):
                    raise CommandError(
                        f"{self.shown} has no receiver {', '.join(strange)}",
                        hint=f"It has {', '.join(sorted(known))}.",
                    )
            alerts = await self._get(session, "alerts", list[_Alert])
            groups = await self._get(session, "alerts/groups", list[_Group])
        muted = _muted(groups, receivers)
        return [_firing(alert, muted=alert.fingerprint in muted) for alert in alerts]

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=self._headers, timeout=_LIMIT)

    async def _get(self, session: aiohttp.ClientSession, what: str, form: type[Answer]) -> Answer:
        place = f"{self.shown}/api/v2/{what}"
        try:
            async with session.get(self._url / "api" / "v2" / what) as response:
                status, body = response.status, await response.read()
        except TimeoutError as reason:
            raise self._failure(
                f"{place} did not answer in time", "Check the URL, and that it runs."
            ) from reason
        except (aiohttp.ClientError, ValueError) as reason:
            raise self._failure(
                f"{place} cannot be asked: {reason}", "Check the URL, and that it runs."
            ) from reason
        if status in (401, 403):
            raise self._failure(
                f"{place} answers {status}",
                "Give it --alertmanager-token, or a URL like https://user:password@alertmanager:9093.",
            )
        if status != 200:
            text = printable(body[:_EXCERPT].decode("utf-8", "replace").strip())
            raise self._failure(
                f"{place} answers {status}{': ' + text if text else ''}",
                "The URL must be an Alertmanager's, with its --web.route-prefix if it has one."
                if status == 404
                else "",
            )
        try:
            return msgspec.json.decode(body, type=form)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as reason:
            raise self._failure(
                f"{place} does not answer as an Alertmanager does: {reason}", "Check the URL."
            ) from reason

    def _failure(self, what: str, hint: str) -> CommandError:
        return CommandError(what, hint=hint, exit_code=Exit.UNREACHABLE)


def _muted(groups: Collection[_Group], receivers: Collection[str]) -> set[str]:
    """Return the alerts that every group they are in mutes, among those of the receivers."""
    muted: set[str] = set()
    heard: set[str] = set()
    for group in groups:
        if receivers and group.receiver.name not in receivers:
            continue
        for alert in group.alerts:
            (muted if alert.status.muted_by else heard).add(alert.fingerprint)
    return muted - heard


def _firing(alert: _Alert, *, muted: bool) -> Firing:
    reasons = {"silenced": alert.status.silenced_by, "inhibited": alert.status.inhibited_by, "muted": muted}
    return Firing(
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=alert.starts_at,
        receivers=tuple(receiver.name for receiver in alert.receivers),
        suppressed=tuple(reason for reason, why in reasons.items() if why),
        unprocessed=alert.status.state == "unprocessed",
    )
