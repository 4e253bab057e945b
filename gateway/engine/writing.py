"""Writing: the one place that changes requests in Kubernetes, for the queue, the fallback and the repair alike.

`Writer.write` performs the steps that `planning.plan` names until nothing is left to do. It does not need Redis: the
record's generation helps replicas to agree on a name at once, and without it a fresh list does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from gateway import errors
from gateway.engine import marks as marking
from gateway.engine.healing import Discard, GiveUp, heal
from gateway.engine.listing import PATIENCE, QUEUE_PATIENCE, Lists, bury
from gateway.engine.planning import Arrange, Count, Create, Demand, Knowledge, Known, Refresh, Settled, plan
from gateway.engine.ports import Ports
from gateway.engine.storming import MissingPayload, Part, StormWriter
from gateway.engine.views import view_of
from gateway.kube import objects
from gateway.kube.stored import Stored
from gateway.model import Happening, RequestRef, Signal
from gateway.resilience.backoff import conflict_delay

log = structlog.get_logger(__name__)

MOST_STEPS = 40
"""Steps after which a write gives up its turn: only rivals that never pause could need more."""


PASSING = (
    errors.KubeThrottled,
    errors.KubeUnavailable,
    errors.KubeForbidden,
    errors.KubeNamespaceMissing,
)
"""Failures that may pass: while writes end like this, new work is not taken without bound."""


class Written(msgspec.Struct, frozen=True):
    """What stands in Kubernetes after a write."""

    covered: dict[str, int]
    open_generation: int
    closed_generation: int
    request: RequestRef | None
    wrote: bool


class Arbiter(Protocol):
    """Names generations, so that all replicas create the same request under the same name."""

    async def __call__(self, fingerprint: str, known: int) -> int: ...


class Writer:
    """Brings requests to what is demanded of them."""

    def __init__(self, ports: Ports, *, most_members: int = 1000) -> None:
        """`most_members`: of one aggregated request."""
        self._index = ports.index
        self._cluster = ports.cluster
        self._spaces = ports.spaces
        self._fallback_namespace = ports.fallback_namespace
        self._namespaced = ports.namespaced
        self._synced = ports.synced
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._announce = ports.announce
        self._traces = ports.traces
        self.failing = False
        """The last write that was tried failed in a way that may pass."""
        self._lists = Lists(ports.index, ports.cluster, ports.clock)
        self.storms = StormWriter(ports, self, most_members=most_members)

    async def write(
        self,
        fingerprint: str,
        demand: Demand,
        signal: Callable[[], Signal] | None,
        arbiter: Arbiter | None,
        *,
        read_again: bool = False,
        source: str = "immediate",
        alone: bool = False,
    ) -> Written:
        """Make Kubernetes match the demand.

        `signal` says what a new request is made of, `source` why it is made. With `read_again` an answer that never
        came is followed by one more reading before it counts as a failure: for callers that have no queue to come
        back from. `alone` is like that of `StormWriter.count`.

        Raises `KubeError`, `StoreError` (from the arbiter) or `MissingPayload`; some of the demand may have been
        written then, and the same call again does no harm.
        """
        try:
            turn = _Turn(
                fingerprint,
                demand,
                signal,
                arbiter,
                knowledge=Knowledge.WATCHED if self._synced() else Knowledge.DOUBTFUL,
                source=source,
                patient=read_again,
                alone=alone,
            )
            if self._traces is None:
                return await self._write(turn, read_again=read_again)
            with self._traces.writing("write request", [(fingerprint, signal)]):
                return await self._write(turn, read_again=read_again)
        except PASSING:
            self.failing = True
            raise

    async def _write(self, turn: _Turn, *, read_again: bool) -> Written:
        for _ in range(MOST_STEPS):
            view = view_of(self._index, turn.fingerprint)
            step = plan(view, turn.demand, arbitrated=turn.arbiter is not None, knowledge=turn.knowledge)
            if isinstance(step, Settled):
                closed = max((r.generation for r in view.requests if not r.open), default=0)
                closed = max([closed, *(gone.generation for gone in view.gone)])
                open_generation = step.request.generation if step.request else 0
                ref = step.request.ref if step.request else None
                return Written(step.covered, open_generation, closed, ref, turn.wrote)
            try:
                await self._perform(step, turn)
            except errors.KubeUnavailable:
                if not read_again:
                    raise
                read_again = False
                await self._read_again(step, turn)
        raise errors.KubeConflict(
            "the request changed too often to be written; it stays in the queue", status=409
        )

    async def _perform(self, step: Count | Create | Arrange | Refresh, turn: _Turn) -> None:
        match step:
            case Count():
                await self._count(step, turn)
            case Create():
                await self._create(step, turn)
            case Refresh():
                namespace = turn.signal().namespace if turn.signal is not None else None
                await self.look_up(turn.fingerprint, namespace)
                turn.knowledge = Knowledge.LISTED
            case Arrange():
                assert turn.arbiter is not None
                generation = await turn.arbiter(turn.fingerprint, step.known)
                turn.demand = msgspec.structs.replace(turn.demand, generation=generation)

    async def _count(self, step: Count, turn: _Turn) -> None:
        request = step.request
        if request.window:
            part = Part(turn.fingerprint, turn.demand, turn.signal)
            await self.storms.count(request.window, part, alone=turn.alone)
            turn.wrote = True
            return
        body = objects.patch_body(
            resource_version=request.resource_version,
            applied=marking.dump(step.marks, turn.fingerprint),
            count=step.total,
            last_seen=self._clock.wall(),
            resolved_at=step.resolved_at or None,
            resolved_starts_at=step.resolved_since or None,
        )
        try:
            stored = await self._cluster.patch(request.ref, body)
        except errors.KubeConflict:
            await self._after_conflict(request, turn)
        except errors.KubeNotFound:
            await self._bury(request.ref, request.uid, turn)
        else:
            self._written(stored, turn)
            if turn.conflicts:
                self._metrics.crd_update_retry_success.inc()
                turn.conflicts = 0

    async def _after_conflict(self, request: Known, turn: _Turn) -> None:
        if not turn.conflicts:
            # An update counts once however often it is refused, as its success does.
            self._metrics.crd_update_conflicts.inc()
        delay = conflict_delay(turn.conflicts, self._clock.monotonic(), patient=turn.patient)
        if delay is None:
            raise errors.KubeConflict(
                f"{request.ref} changed each time before it could be written", status=409
            )
        turn.conflicts += 1
        self._metrics.retries["k8s_api"].inc()
        self._metrics.k8s_api_retry_backoff.observe(delay)
        log.info(
            "update met a conflict",
            request=str(request.ref),
            resourceVersion=request.resource_version,
            attempt=turn.conflicts,
            backoff=delay,
        )
        await asyncio.sleep(delay)
        await self._read(request.ref, request.uid, turn)

    async def _read(self, ref: RequestRef, uid: str, turn: _Turn) -> None:
        """Bring the index up to date with one request."""
        try:
            self._index.apply(await self._cluster.get(ref))
        except errors.KubeNotFound:
            await self._bury(ref, uid, turn)

    async def _bury(self, ref: RequestRef, uid: str, turn: _Turn) -> None:
        patience = PATIENCE if turn.arbiter is None else QUEUE_PATIENCE
        await bury(self._index, self._clock, ref, uid, patience=patience)
        turn.knowledge = Knowledge.DOUBTFUL

    async def _read_again(self, step: Count | Create | Arrange | Refresh, turn: _Turn) -> None:
        """After an answer that never came: the write may have happened."""
        if isinstance(step, Count):
            await self._read(step.request.ref, step.request.uid, turn)
        else:
            turn.knowledge = Knowledge.DOUBTFUL

    async def _create(self, step: Create, turn: _Turn) -> None:
        if turn.signal is None:
            raise MissingPayload(f"nothing is known of what the request for {turn.fingerprint} is made of")
        signal = turn.signal()
        ref = self.place(signal.namespace, signal.alertname, turn.fingerprint, step.generation, turn)
        body = objects.create_body(
            signal,
            namespace=ref.namespace,
            name=ref.name,
            generation=step.generation,
            applied=marking.dump(step.marks, turn.fingerprint),
            count=step.total,
            first_seen=signal.received_at,
            last_seen=max(signal.received_at, self._clock.wall()),
            predecessor=step.predecessor.name if step.predecessor else "",
            source=turn.source,
        )
        try:
            stored = await self._cluster.create(ref.namespace, body)
        except errors.KubeAlreadyExists:
            await self._after_already_exists(ref, turn)
        except errors.KubeNamespaceMissing:
            if ref.namespace == self._fallback_namespace:
                raise
            turn.homeless = True
        else:
            self._written(stored, turn)
            after = f", after {step.predecessor.name}" if step.predecessor else ""
            message = f"opened by {turn.source} for {signal.alertname} of {signal.starts_at[:19]}Z{after}"
            self._announce(stored.ref, stored.uid, Happening.CREATED, message)

    def _written(self, stored: Stored, turn: _Turn) -> None:
        turn.wrote = True
        self.failing = False
        self._index.apply(stored)

    async def _after_already_exists(self, ref: RequestRef, turn: _Turn) -> None:
        """Success if it is the same problem's (somebody else was quicker), else the names collided."""
        turn.knowledge = Knowledge.DOUBTFUL
        try:
            stored = await self._cluster.get(ref)
        except errors.KubeNotFound:
            return
        if stored.fingerprint == turn.fingerprint:
            self._index.apply(stored)
        elif turn.digits == objects.LONG_DIGITS:
            raise errors.KubeInvalid(
                f"{ref} belongs to another problem, and so does the longer name", status=409
            )
        else:
            turn.digits = objects.LONG_DIGITS

    def place(
        self, namespace: str, alertname: str, fingerprint: str, generation: int, turn: _Turn | None = None
    ) -> RequestRef:
        """Where the request of a generation is stored, as far as can be told before it is.

        A turn tries the namespace in any case: it may have been created a moment ago, and be unknown here.
        """
        homeless = turn.homeless if turn is not None else self._spaces.exists(namespace) is False
        namespace = self.home(namespace, homeless=homeless)
        digits = turn.digits if turn is not None else objects.DIGITS
        return RequestRef(namespace, objects.request_name(alertname, fingerprint, generation, digits))

    def home(self, namespace: str, *, homeless: bool) -> str:
        """Where requests of alerts of this namespace go; `homeless`: it does not exist."""
        if homeless or not objects.is_namespace(namespace):
            return self._fallback_namespace
        return namespace

    async def look_up(self, fingerprint: str, namespace: str | None) -> None:
        """Bring the index up to date with everything that is stored for a fingerprint, by a list begun now.

        `namespace` is the alert's own: its requests are there, or in the fallback namespace, and a list of those two
        is cheap where one of a whole cluster is not (a label has no index). None looks everywhere.
        """
        places: tuple[str, ...] | None = None
        if namespace is not None and self._namespaced:
            places = (self._fallback_namespace,)
            if namespace != self._fallback_namespace and objects.is_namespace(namespace):
                places = (namespace, self._fallback_namespace)
        await self._lists.refresh(fingerprint, places)

    async def heal(self, fingerprint: str) -> bool:
        """Take one healing step, if one is needed. Raises `KubeError`."""
        step = heal(view_of(self._index, fingerprint))
        if step is None:
            return False
        turn = _Turn(fingerprint, Demand({}), None, None, knowledge=Knowledge.WATCHED)
        request = step.request
        try:
            if isinstance(step, GiveUp) and request.window:
                log.warning("two requests count the same; one gives it up", request=str(request.ref))
                await self.storms.give_up(request.ref, fingerprint)
            elif isinstance(step, GiveUp):
                log.warning("two requests count the same; one gives it up", request=str(request.ref))
                body = objects.patch_body(
                    resource_version=request.resource_version,
                    applied=marking.dump(step.marks, fingerprint),
                    count=step.total,
                )
                self._index.apply(await self._cluster.patch(request.ref, body))
                message = f"what it counted of {fingerprint[:10]} is counted by another open request"
                self._announce(request.ref, request.uid, Happening.GAVE_UP, message)
            else:
                assert isinstance(step, Discard)
                log.warning("a request that counts nothing any more is deleted", request=str(request.ref))
                await self._cluster.delete(
                    request.ref, uid=request.uid, resource_version=request.resource_version
                )
                self._index.remove(request.ref, request.uid, self._clock.monotonic())
                message = "deleted, as another open request counts the same"
                self._announce(request.ref, request.uid, Happening.DISCARDED, message)
        except (errors.KubeConflict, errors.KubeNotFound):
            await self._read(request.ref, request.uid, turn)
        return True


class _Turn:
    """What one write has learnt so far."""

    __slots__ = (
        "alone",
        "arbiter",
        "conflicts",
        "demand",
        "digits",
        "fingerprint",
        "homeless",
        "knowledge",
        "patient",
        "signal",
        "source",
        "wrote",
    )

    def __init__(
        self,
        fingerprint: str,
        demand: Demand,
        signal: Callable[[], Signal] | None,
        arbiter: Arbiter | None,
        *,
        knowledge: Knowledge,
        source: str = "",
        patient: bool = False,
        alone: bool = False,
    ) -> None:
        self.fingerprint = fingerprint
        self.demand = demand
        self.signal = signal
        self.arbiter = arbiter
        self.knowledge = knowledge
        self.source = source
        self.patient = patient
        """There is no queue to come back from."""
        self.alone = alone
        self.wrote = False
        self.conflicts = 0
        self.homeless = False
        """The alert's namespace does not exist."""
        self.digits = objects.DIGITS
