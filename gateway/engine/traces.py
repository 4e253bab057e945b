"""Which traces a piece of the engine's work belongs to, where such are wanted.

An alert's way has two seams. One Redis call serves many webhooks: its span stands below the first of them and has links
to the others. And the write to Kubernetes comes later, for all occurrences of a problem since the last one: so the
traces of what was admitted are remembered by fingerprint until somebody writes it here, the first as its parent, the
others as links. What another replica writes has the trace of the alert that opened it, out of the payload in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from gateway.engine.deliveries import Unit
from gateway.model import Signal
from gateway.telemetry.tracing import Attributes, Kind, Tracer, current, within

MOST_REMEMBERED: Final = 10_000
"""Fingerprints; the oldest are forgotten first."""
MOST_OF_ONE: Final = 32
"""Traces of one fingerprint, and links of one span."""

Written = tuple[str, Callable[[], Signal] | None]
"""A fingerprint that is written, and what its request would be made of."""


class Traces:
    """Begins the engine's spans."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._remembered: dict[str, list[str]] = {}

    @contextmanager
    def accepting(self, alerts: int) -> Iterator[None]:
        """A webhook's alerts become durable."""
        above = current.get()
        if not above:
            yield
            return
        with within(self._tracer.begin("admission", Kind.INTERNAL, [above], {"gateway.alerts": alerts})):
            yield

    @contextmanager
    def admitting(self, shard: int, units: Sequence[Unit]) -> Iterator[None]:
        """One call to Redis for everything that waited. Remembers whom it was for."""
        contexts = _different(context for unit in units for context in _of(unit))
        if not contexts:
            yield
            return
        for unit in units:
            if not unit.reading.resolved:
                self._remember(unit.fingerprint, _of(unit))
        about: Attributes = {
            "db.system.name": "redis",
            "db.namespace": str(shard),
            "gateway.units": len(units),
        }
        with within(self._tracer.begin("redis admit", Kind.CLIENT, contexts, about)):
            yield

    @contextmanager
    def writing(self, what: str, written: Iterable[Written]) -> Iterator[None]:
        """Kubernetes is brought to match; what fails is remembered again."""
        taken = {fingerprint: self._take(fingerprint, signal) for fingerprint, signal in written}
        contexts = _different(context for one in taken.values() for context in one)
        if not contexts:
            yield
            return
        try:
            about = {"gateway.problems": len(taken)}
            with within(self._tracer.begin(what, Kind.INTERNAL, contexts, about)):
                yield
        except BaseException:
            for fingerprint, own in taken.items():
                self._remember(fingerprint, own)
            raise

    @staticmethod
    def marked(signal: Signal, unit: Unit) -> Signal:
        """The signal with the trace of the alert that it was made of."""
        context = next(iter(_of(unit)), "")
        return msgspec.structs.replace(signal, traceparent=context) if context else signal

    def called(self, verb: str, code: int, seconds: float, error: str) -> None:
        """A call to the Kubernetes API ended; those that belong to no trace are left out."""
        above = current.get()
        if not above:
            return
        about = {"http.response.status_code": code}
        span = self._tracer.begin(f"kubernetes {verb}", Kind.CLIENT, [above], about, ago=seconds)
        if error:
            span.fail(error)
        span.end()

    def _remember(self, fingerprint: str, contexts: Iterable[str]) -> None:
        known = self._remembered.pop(fingerprint, [])
        known += [context for context in contexts if context not in known]
        if known:
            self._remembered[fingerprint] = known[:MOST_OF_ONE]
            if len(self._remembered) > MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def _take(self, fingerprint: str, signal: Callable[[], Signal] | None) -> list[str]:
        contexts = self._remembered.pop(fingerprint, [])
        if not contexts and signal is not None and (stored := signal().traceparent):
            contexts = [stored]
        return contexts


def _of(unit: Unit) -> Iterator[str]:
    """The traces of the webhooks that a unit's alerts came with."""
    return (delivery.trace for delivery, _ in unit.members if delivery.trace)


def _different(contexts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(contexts))[:MOST_OF_ONE]
