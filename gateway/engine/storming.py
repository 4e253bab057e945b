"""Aggregated requests: the one place that writes them, for windows, the fallback and the repair alike.

A window's request is named by the window's id, so that every replica that writes it names it alike, and the second
create is `AlreadyExists`. What is left of each member is counted where it belongs: on an open request that holds it
already, else here. Once the request is closed or deleted it is never written again; what is left over is *released*,
to become requests of their own.

Each write starts from the object as it is now (the index keeps only its marks), and is guarded by that version.
Whatever waits for the same request meanwhile shares the next write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog

from gateway import errors
from gateway.engine import marks as marking
from gateway.engine.healing import GiveUp, heal
from gateway.engine.listing import PATIENCE, QUEUE_PATIENCE, bury
from gateway.engine.planning import Count, Demand, Place, View, covered, joining, on_request, place
from gateway.engine.ports import Ports
from gateway.engine.sharing import SharedWrites
from gateway.engine.views import view_of
from gateway.kube import objects, storms
from gateway.kube.stored import Stored
from gateway.model import Happening, RequestRef, Signal
from gateway.resilience.backoff import conflict_delay

log = structlog.get_logger(__name__)

MOST_STEPS = 60
"""Steps after which a write gives up its turn: only rivals that never pause could need more."""


class MissingPayload(errors.GatewayError):
    """A request has to be created, and nobody said what it is made of; a slot's owner will."""

    retryable = True


class Part(msgspec.Struct, frozen=True):
    """What should be in Kubernetes for one member."""

    fingerprint: str
    demand: Demand
    signal: Callable[[], Signal] | None
    """What it joins with, if it is no member yet."""


class MemberWritten(msgspec.Struct, frozen=True):
    """What stands in Kubernetes for one member after a write."""

    covered: dict[str, int]
    open_generation: int
    """Of its own open request, 0 where there is none."""
    closed_generation: int
    released: bool
    """Something is left that the window's request cannot take."""


class StormWritten(msgspec.Struct, frozen=True):
    """What a write of a window came to."""

    members: dict[str, MemberWritten]
    failed: dict[str, errors.GatewayError]
    """Members of which nothing can be said."""
    gone: bool
    """The window's request is closed or deleted."""
    wrote: bool
    request: RequestRef | None


class Own(Protocol):
    """The writer of requests that hold one fingerprint."""

    failing: bool

    async def write(
        self,
        fingerprint: str,
        demand: Demand,
        signal: None,
        arbiter: None,
        *,
        read_again: bool = False,
        alone: bool = False,
    ) -> object: ...

    async def look_up(self, fingerprint: str, namespace: str | None) -> None: ...

    def home(self, namespace: str, *, homeless: bool) -> str: ...


@dataclass
class _Turn:
    """What one write of a window has learnt so far."""

    window: str
    parts: Mapping[str, Part]
    source: str
    read_again: bool
    patient: bool
    """There is no queue to come back from."""
    alone: bool
    """Others wait behind this write, so it waits for none that is shared: that may be itself."""
    listed: bool = False
    homeless: bool = False
    impossible: bool = False
    wrote: bool = False
    conflicts: int = 0
    released: set[str] = field(default_factory=set)
    failed: dict[str, errors.GatewayError] = field(default_factory=dict)


class _Door:
    """Who writes to one request goes through one at a time; it is there for as long as somebody wants to."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class StormWriter:
    """Brings aggregated requests to what is demanded of them."""

    def __init__(self, ports: Ports, own: Own, *, most_members: int) -> None:
        self._index = ports.index
        self._cluster = ports.cluster
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._announce = ports.announce
        self._traces = ports.traces
        self._own = own
        self._most = most_members
        self._doors: dict[str, _Door] = {}
        self._shared = SharedWrites(self._count)

    async def write(
        self,
        window: str,
        parts: Sequence[Part],
        *,
        source: str,
        read_again: bool = False,
        alone: bool = False,
    ) -> StormWritten:
        """Make Kubernetes match what is demanded of the window's members.

        `source` says why the request is made, if it is; `alone` is like that of `count`. Raises `KubeError`; some may
        have been written then, and the same call again does no harm.
        """
        by_fingerprint = {part.fingerprint: part for part in parts}
        turn = _Turn(window, by_fingerprint, source, read_again, patient=read_again, alone=alone)
        try:
            if self._traces is None:
                return await self._write(turn)
            with self._traces.writing("write storm", [(part.fingerprint, part.signal) for part in parts]):
                return await self._write(turn)
        except (
            errors.KubeThrottled,
            errors.KubeUnavailable,
            errors.KubeForbidden,
            errors.KubeNamespaceMissing,
        ):
            self._own.failing = True
            raise

    def closed(self, window: str) -> None:
        """The window takes no more members, and all that it had are written."""
        stored = self._index.window(window)
        if stored is not None:
            message = f"storm window {window} closed with {len(stored.members or {})} members"
            self._announce(stored.ref, stored.uid, Happening.STORM_CLOSED, message)

    async def count(self, window: str, part: Part, *, alone: bool = False) -> None:
        """Count one member on a window's request; whatever waits for that shares one write.

        `alone` is for who writes what others share, and so must not wait for their write: it may be its own. Raises
        what `write` does, and what this member failed with.
        """
        if not alone:
            await self._shared.write(window, part)
        elif failure := (await self._count(window, [part])).get(part.fingerprint):
            raise failure

    async def _count(self, window: str, parts: Sequence[Part]) -> Mapping[str, errors.GatewayError]:
        """Returns what failed, by fingerprint."""
        return (await self.write(window, parts, source="storm", read_again=True, alone=True)).failed

    # --- one write

    async def _write(self, turn: _Turn) -> StormWritten:
        for _ in range(MOST_STEPS):
            views = {fp: view_of(self._index, fp) for fp in turn.parts if fp not in turn.failed}
            places = {fp: place(view, turn.parts[fp].demand, turn.window) for fp, view in views.items()}
            elsewhere = [fp for fp, where in places.items() if where is Place.ELSEWHERE]
            if elsewhere:
                await self._write_elsewhere(elsewhere, turn)
                continue
            here = [fp for fp, where in places.items() if where is Place.HERE and fp not in turn.released]
            if not here:
                return self._result(turn, views)
            stored = self._index.window(turn.window)
            if turn.impossible or _over(stored) or (stored is None and self._index.window_tomb(turn.window)):
                turn.released.update(here)
            elif stored is None and not turn.listed:
                await self._list(here, turn)
                turn.listed = True
            else:
                await self._step(stored, here, turn)
        raise errors.KubeConflict(
            "the aggregated request changed too often to be written; it stays in the queue", status=409
        )

    def _result(self, turn: _Turn, views: Mapping[str, View]) -> StormWritten:
        members = {}
        for fingerprint, view in views.items():
            own = [request for request in view.requests if not request.window]
            members[fingerprint] = MemberWritten(
                covered=covered(view, turn.parts[fingerprint].demand),
                open_generation=max((request.generation for request in own if request.open), default=0),
                closed_generation=max(
                    [request.generation for request in own if not request.open]
                    + [gone.generation for gone in view.gone],
                    default=0,
                ),
                released=fingerprint in turn.released,
            )
        stored = self._index.window(turn.window)
        gone = turn.impossible or _over(stored)
        gone = gone or (stored is None and self._index.window_tomb(turn.window) is not None)
        return StormWritten(members, turn.failed, gone, turn.wrote, stored.ref if stored else None)

    async def _write_elsewhere(self, fingerprints: Sequence[str], turn: _Turn) -> None:
        """Count members on the open requests that hold them already."""
        outcomes = await asyncio.gather(
            *(
                self._own.write(
                    fp, turn.parts[fp].demand, None, None, read_again=turn.read_again, alone=turn.alone
                )
                for fp in fingerprints
            ),
            return_exceptions=True,
        )
        for fingerprint, outcome in zip(fingerprints, outcomes, strict=True):
            if isinstance(outcome, errors.GatewayError):
                turn.failed[fingerprint] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome

    async def _list(self, here: Sequence[str], turn: _Turn) -> None:
        """Look afresh for the window's request, and for own requests of the members: one list for all of them."""
        signals = [signal() for fp in here if (signal := turn.parts[fp].signal) is not None]
        namespace = signals[0].namespace if signals else None
        wanted = [objects.window_fingerprint(turn.window), *here]
        await asyncio.gather(*(self._own.look_up(fingerprint, namespace) for fingerprint in wanted))

    async def _step(self, stored: Stored | None, here: Sequence[str], turn: _Turn) -> None:
        door = self._doors.setdefault(turn.window, _Door())
        door.users += 1
        try:
            async with door.lock:
                if stored is None:
                    await self._create(here, turn)
                else:
                    await self._update(stored.ref, turn)
        except errors.KubeConflict:
            await self._after_conflict(turn)
        except errors.KubeNotFound:
            if stored is not None:
                patience = PATIENCE if turn.read_again else QUEUE_PATIENCE
                await bury(self._index, self._clock, stored.ref, stored.uid, patience=patience)
            turn.listed = False
        except errors.KubeUnavailable:
            if not turn.read_again:
                raise
            turn.read_again = turn.listed = False
        finally:
            door.users -= 1
            if not door.users:
                del self._doors[turn.window]

    async def _create(self, here: Sequence[str], turn: _Turn) -> None:
        if self._index.window(turn.window) is not None:
            return  # somebody created it while we waited
        newcomers = self._newcomers(here, self._most, turn)
        if not newcomers:
            return
        first = newcomers[0].signal
        # Where the members' namespaces may differ, each replica has to choose the same one. The group tells, as it was
        # when the window opened: the configuration may be another by now.
        namespace = self._own.home(first.group.partition("/")[0] and first.namespace, homeless=turn.homeless)
        ref = RequestRef(namespace, objects.storm_name(first.alertname, turn.window))
        body = storms.create_body(
            window=turn.window,
            namespace=ref.namespace,
            name=ref.name,
            source=turn.source,
            newcomers=newcomers,
            last_seen=self._clock.wall(),
        )
        try:
            created = await self._cluster.create(ref.namespace, body)
        except errors.KubeAlreadyExists:
            existing = await self._cluster.get(ref)
            turn.impossible = existing.window != turn.window or not existing.is_storm
            if not turn.impossible:
                self._index.apply(existing)
        except errors.KubeNamespaceMissing:
            if turn.homeless:
                raise
            turn.homeless = True
        else:
            self._written(created, turn)
            message = f"opened by {turn.source} for {len(newcomers)} alerts {first.alertname} of window {turn.window}"
            self._announce(created.ref, created.uid, Happening.CREATED, message)

    def _newcomers(self, here: Sequence[str], room: int, turn: _Turn) -> list[storms.Newcomer]:
        """What joins; who cannot is released or fails."""
        found: list[storms.Newcomer] = []
        for fingerprint in here:
            part = turn.parts[fingerprint]
            if part.signal is None:
                turn.failed[fingerprint] = MissingPayload(
                    f"nothing is known of what the request for {fingerprint} is made of"
                )
            elif len(found) >= room:
                turn.released.add(fingerprint)
            else:
                marks = joining(view_of(self._index, fingerprint), part.demand)
                demand = part.demand
                found.append(
                    storms.Newcomer(
                        signal=part.signal(),
                        marks=marking.texts(marks),
                        occurrences=marking.total(marks),
                        resolved_since=demand.resolved_since,
                        resolved_at=demand.resolved_at
                        if demand.resolved_since >= demand.firing_since
                        else "",
                    )
                )
        return found

    async def _update(self, ref: RequestRef, turn: _Turn) -> None:
        """Write what is left of all members onto the request as it is now."""
        storm = await self._cluster.storm(ref)
        self._index.apply(storm.stored)
        if not storm.stored.open:
            return
        if storm.stored.damaged:
            turn.impossible = True
            return
        members = storm.stored.members or {}
        changes, strangers = {}, []
        for fingerprint, part in turn.parts.items():
            view = view_of(self._index, fingerprint)
            if fingerprint in turn.failed or place(view, part.demand, turn.window) is not Place.HERE:
                continue
            if fingerprint in members:
                changes[fingerprint] = _change(on_request(view, part.demand, turn.window))
            elif fingerprint not in turn.released:
                strangers.append(fingerprint)
        newcomers = self._newcomers(strangers, self._most - len(members), turn)
        if not changes and not newcomers:
            return
        body = storms.patch_body(storm, changes=changes, newcomers=newcomers, last_seen=self._clock.wall())
        self._written(await self._cluster.patch(ref, body), turn)

    def _written(self, stored: Stored, turn: _Turn) -> None:
        turn.wrote = True
        self._own.failing = False
        self._index.apply(stored)
        if turn.conflicts:
            self._metrics.crd_update_retry_success.inc()
            turn.conflicts = 0

    async def _after_conflict(self, turn: _Turn) -> None:
        if not turn.conflicts:
            # An update counts once however often it is refused, as its success does.
            self._metrics.crd_update_conflicts.inc()
        delay = conflict_delay(turn.conflicts, self._clock.monotonic(), patient=turn.patient)
        if delay is None:
            raise errors.KubeConflict(
                f"the request of window {turn.window} changed each time before it could be written",
                status=409,
            )
        turn.conflicts += 1
        self._metrics.retries["k8s_api"].inc()
        self._metrics.k8s_api_retry_backoff.observe(delay)
        stored = self._index.window(turn.window)
        log.info(
            "update met a conflict",
            window=turn.window,
            resourceVersion=stored.resource_version if stored is not None else "",
            attempt=turn.conflicts,
            backoff=delay,
        )
        await asyncio.sleep(delay)

    # --- healing

    async def give_up(self, ref: RequestRef, fingerprint: str) -> None:
        """Take one healing step on an aggregated request, decided on the object as it is now. Raises `KubeError`."""
        storm = await self._cluster.storm(ref)
        self._index.apply(storm.stored)
        step = heal(view_of(self._index, fingerprint))
        if not isinstance(step, GiveUp) or step.request.ref != ref or storm.stored.damaged:
            return
        change = storms.Change(
            marks=marking.texts(step.marks),
            occurrences=marking.total(step.marks),
            resolved_since=step.request.resolved_since,
            resolved_at=step.request.resolved_at,
        )
        body = storms.patch_body(storm, changes={fingerprint: change}, newcomers=(), last_seen="")
        self._index.apply(await self._cluster.patch(ref, body))
        message = f"what it counted of {fingerprint[:10]} is counted by another open request"
        self._announce(ref, storm.stored.uid, Happening.GAVE_UP, message)


def _over(stored: Stored | None) -> bool:
    return stored is not None and not stored.open


def _change(step: Count) -> storms.Change:
    return storms.Change(
        marks=marking.texts(step.marks),
        occurrences=step.total,
        resolved_since=step.resolved_since,
        resolved_at=step.resolved_at,
    )
