"""Traces, as the rest of the gateway sees them: a `Tracer` that begins spans, or None where nobody wants any.

A span is named by its context, one string in the form of W3C's `traceparent` header, which can be kept and stored. The
empty context stands for "not traced": of a request that the sampler left out, nothing further down is traced either.

Nothing here imports OpenTelemetry; `gateway.telemetry.otlp` does, and is imported only where spans are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, Protocol

Attributes = Mapping[str, str | int | bool]

current: Final[ContextVar[str]] = ContextVar("trace_context", default="")
"""The span that what runs here belongs to. Set only where there is a tracer; tasks that are started inherit it."""

# https://www.w3.org/TR/trace-context/: a later version may say more behind a further hyphen, and version ff is none.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class Kind(StrEnum):
    """Whose work a span is."""

    SERVER = "server"
    """Asked for by somebody else."""
    CLIENT = "client"
    """Asked of somebody else, and waited for."""
    INTERNAL = "internal"


class Span(Protocol):
    """One piece of work, begun and not ended yet."""

    @property
    def context(self) -> str:
        """Empty where it is not recorded."""

    def set(self, attributes: Attributes) -> None:
        """Say more of it."""

    def fail(self, why: str) -> None:
        """It did not come to what it should have."""

    def end(self) -> None:
        """It is over, now."""


class Tracer(Protocol):
    """Begins spans. Never waits, never raises."""

    def begin(
        self,
        name: str,
        kind: Kind,
        contexts: Sequence[str] = (),
        attributes: Attributes | None = None,
        *,
        ago: float = 0.0,
    ) -> Span:
        """A span below the first of the contexts, with links to the others; without any, one of a new trace.

        `ago`: for how many seconds it has been under way already.
        """


def parse(traceparent: str) -> tuple[str, str, bool] | None:
    """Trace, span and whether it is recorded, of a context or a header; None for what is neither."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    if traceparent.startswith("00") and found[0].count("-") != 3:
        return None
    return found[1], found[2], bool(int(found[3], 16) & 1)


def exemplar(context: str) -> dict[str, str] | None:
    """What leads from a measurement to its trace; None where it has none."""
    found = parse(context) if context else None
    return None if found is None else {"trace_id": found[0], "span_id": found[1]}


@contextmanager
def within(span: Span) -> Iterator[Span]:
    """Do something that a span is about, and end it: what fails inside is said of it and goes on."""
    token = current.set(span.context)
    try:
        yield span
    except BaseException as error:
        span.fail(f"{type(error).__name__}: {error}"[:200])
        raise
    finally:
        current.reset(token)
        span.end()
