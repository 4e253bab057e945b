"""Which requests hold a fingerprint as a member: names by fingerprint, and no copies of what they name. Pure.

A storm of a thousand members is seen anew with every count of one of them. So what is kept here is not the request
but its key, which stays: a sighting touches only the members that come or go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from gateway.kube.stored import MemberMarks, Stored

K = TypeVar("K")


class Holders(Generic[K]):
    """Fingerprint → keys of what holds it, in the order in which they were added."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[K, ...]] = {}

    def of(self, fingerprint: str) -> Sequence[K]:
        return self._keys.get(fingerprint, ())

    def add(self, fingerprints: Iterable[str], key: K) -> None:
        """Each of them is held by `key`, too; none of them was."""
        alone = (key,)  # one for all: most are held once
        for fingerprint in fingerprints:
            others = self._keys.get(fingerprint)
            self._keys[fingerprint] = alone if others is None else (*others, key)

    def discard(self, fingerprints: Iterable[str], key: K) -> None:
        """None of them is held by `key` any more; all of them were."""
        for fingerprint in fingerprints:
            rest = tuple(other for other in self._keys[fingerprint] if other != key)
            if rest:
                self._keys[fingerprint] = rest
            else:
                del self._keys[fingerprint]


class Succession(NamedTuple):
    """How one version of a request follows on another, as far as its members go."""

    stored: Stored
    """The later version; what it says as the earlier one did is the earlier one's, so that memory holds it once."""
    come: Sequence[str]
    gone: Sequence[str]
    changed: Sequence[str]
    """The members whose marks differ, those that came and went among them; all, where the request opened or closed."""


def succession(known: Stored, stored: Stored) -> Succession:
    """From `known` to `stored`, two versions of one object."""
    before, after = known.members or {}, stored.members or {}
    if not before and not after:
        return Succession(stored, (), (), ())
    same, differing = _merged(before, after)
    come = [fingerprint for fingerprint in differing if fingerprint not in before]
    gone = [fingerprint for fingerprint in before if fingerprint not in after]
    changed = [*before, *come] if known.open != stored.open else [*differing, *gone]
    # None is kept: an aggregated request may become something else only by somebody's hand, but may.
    members = stored.members if stored.members is None else same
    return Succession(msgspec.structs.replace(stored, members=members), come, gone, changed)


def _merged(
    before: Mapping[str, MemberMarks], after: Mapping[str, MemberMarks]
) -> tuple[Mapping[str, MemberMarks], list[str]]:
    """`after`, made of the objects of `before` where they are equal, and the fingerprints where they are not."""
    known = {fingerprint: (fingerprint, marks) for fingerprint, marks in before.items()}
    merged: dict[str, MemberMarks] = {}
    differing = []
    for fingerprint, marks in after.items():
        own, old = known.get(fingerprint, (fingerprint, None))
        if old == marks:
            merged[own] = old
        else:
            merged[own] = marks
            differing.append(own)
    return (before if not differing and len(before) == len(after) else merged), differing
