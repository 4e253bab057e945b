"""What the web layer needs of the rest of the gateway, as protocols: production and tests hand it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.config.settings import ReviewAccess
from gateway.engine.reports import AlertReport, EngineStatus, RecentRequest, WindowReport
from gateway.intake.reading import Reading
from gateway.model import TokenOwner, Verdict


class Component(Protocol):
    """How one part of the gateway is doing."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str:
        """For people; empty where there is nothing to say."""


class Engine(Protocol):
    """Where alerts become durable."""

    async def accept(
        self, readings: Sequence[Reading], body: bytes, *, received_at: str
    ) -> Sequence[Verdict]:
        """Take the alerts of one webhook; the verdicts in the same order. A return means that all are
        durable.

        Raises `NotDurable` or `Overloaded` where some are not. Past `server.request_timeout` the call is
        cancelled: it then notes what was taken and ends within a moment, either way the sender tries again.
        """

    def status(self) -> EngineStatus:
        """The state of everything, for `/v1/status`; quick, from memory."""

    async def alert(self, fingerprint: str) -> AlertReport | None:
        """What is known about a fingerprint; None where nobody knows it. Raises `StoreError` or `KubeError`."""

    async def storms(self, most: int = ..., /) -> Sequence[WindowReport]:
        """The windows that collect now, the next to end first; so many are enough. Raises `StoreError`."""

    def recent(self, most: int, /) -> Sequence[RecentRequest]:
        """The requests that changed last, the latest first; from memory."""

    def health(self) -> Sequence[Component]:
        """How each part is doing, from memory."""

    def ready(self) -> bool:
        """Whether alerts can be accepted now, in whichever way."""


class TokenRegister(Protocol):
    """Which tokens were issued and which revoked, as all replicas share it. Every method may raise `StoreError`."""

    async def revoked(self) -> Mapping[str, str]:
        """Id → `<expiry> <time of the revocation>`, in seconds since 1970; unreadable ones as they are."""

    async def revoke(self, entries: Mapping[str, str], *, until: float) -> None:
        """Add entries; they are kept until then at least."""

    async def issued(self) -> Mapping[str, str]:
        """Id → `<expiry> <time of issue> <name>`."""

    async def note_issued(self, entries: Mapping[str, str], *, until: float) -> None:
        """Add tokens that were issued; they are kept until then at least."""

    async def forget(self, ids: Sequence[str]) -> None:
        """Take what has expired out of both."""


class SharedWindows(Protocol):
    """The windows of the rate limit, as all replicas share them."""

    async def take(
        self, names: Sequence[str], logs: Sequence[Sequence[int]], checks: Sequence[Sequence[int]]
    ) -> tuple[Sequence[bool], Sequence[Sequence[int]]]:
        """Each check names windows by their place in `names`, and takes one from all of them or from none.

        `logs` says for each window what this process took before this call: age in ms, how much, and so on. Returns
        which checks took, and the same of what the other replicas took. Raises `StoreError`: then nobody knows.
        """


class Reviewer(Protocol):
    """Kubernetes, as far as it knows senders. Every method may raise `KubeError`."""

    async def owner(self, token: str, audiences: Sequence[str]) -> TokenOwner | None:
        """Whom the token belongs to, None where it is nobody's or for none of the audiences (if there are any)."""

    async def permitted(self, owner: TokenOwner, access: ReviewAccess) -> bool:
        """Whether the owner may do that, by the cluster's own rules."""


@dataclass(frozen=True, slots=True)
class Backends:
    """What modes of authentication and the rate limit ask; those that are not configured need none."""

    tokens: TokenRegister | None = None
    reviewer: Reviewer | None = None
    windows: SharedWindows | None = None
