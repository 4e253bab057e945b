"""From the index to what `planning` and `healing` decide on."""

from __future__ import annotations

from gateway.engine.marks import parse
from gateway.engine.planning import Gone, Known, View
from gateway.kube.index import Index
from gateway.kube.stored import Stored


def view_of(index: Index, fingerprint: str) -> View:
    """All that the index knows of a fingerprint's own requests.

    What has no generation was made by somebody else, with a fingerprint that happens to be the same: it is not ours
    to count on, to heal or to name as predecessor.
    """
    return View(
        [known(stored) for stored in index.requests(fingerprint) if stored.generation],
        [Gone(tomb.generation, parse(tomb.applied, fingerprint)) for tomb in index.tombs(fingerprint)],
    )


def known(stored: Stored) -> Known:
    """One stored request with its marks read."""
    return Known(
        ref=stored.ref,
        uid=stored.uid,
        resource_version=stored.resource_version,
        generation=stored.generation,
        open=stored.open,
        marks=parse(stored.applied, stored.fingerprint),
        resolved_since=stored.resolved_starts_at,
        resolved_at=stored.resolved_at,
    )


def resolved_since(index: Index, fingerprint: str) -> str:
    """The start of the latest episode that is known to have ended; empty where none is."""
    known_ends = [stored.resolved_starts_at for stored in index.requests(fingerprint)]
    known_ends += [tomb.resolved_starts_at for tomb in index.tombs(fingerprint)]
    return max(known_ends, default="")
