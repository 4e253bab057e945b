"""The store: the operations on Redis that the engine is written in, typed, each one script call.

`Store` is the port; `RedisStore` is the real one. The simulation has a twin in Python, held to it by a contract test.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.errors import StoreError, StoreRefused
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.records import (
    IMMEDIATE,
    Admission,
    AdmitReply,
    Claim,
    Confirmation,
    DeadLetter,
    Kind,
    Note,
    OpenWindows,
    Seen,
    WindowConfirmation,
    WindowState,
)
from gateway.state.replies import Reply

WRITE_SPREAD = 0.02
"""Seconds between two counting writes where many requests wait: fifty a second, over all replicas."""

PAYLOAD_STEP = 50
"""Payloads read in one call: they may be long, and Redis serves nobody else meanwhile."""

HURRY_STEP = 500
"""Items of the queue looked at in one call when what was put off is due again."""

SWEEP_STEP = 200
"""Records a sweep looks at in one call."""


def window_item(window: str) -> str:
    """How the work queue names a window."""
    return f"w:{window}"


class Store(Protocol):
    """What the engine asks of Redis. Every method may raise `StoreRefused` or `StoreUnsure`."""

    @property
    def shards(self) -> int: ...

    def shard(self, group: str) -> int:
        """The shard of a group."""

    async def admit(
        self, shard: int, messages: Sequence[Admission], *, notes_taken: bool, life: str = ""
    ) -> AdmitReply:
        """Merge what the messages say, decide where each fingerprint stands, and queue what is to be written.

        `life` names the life of Redis's data that the caller saw last, empty for any. If it is another one by now,
        nothing is done, and the reply names it.
        """

    async def ask(self, shard: int, messages: Sequence[Admission]) -> AdmitReply:
        """The same of assertions that a full Redis refused, in a form that it answers: without payloads and windows.

        What it has takes no room again, no window is opened, and of what it has not nothing is stored, which it answers
        with `WANTS_PAYLOAD`.
        """

    async def claim(self, shard: int, *, limit: int, lease: float, identify: bool) -> Claim:
        """Lease what is due, at most `limit` items for `lease` seconds; with 0 only windows end whose time is over."""

    async def confirm(self, shard: int, confirmations: Sequence[Confirmation]) -> int:
        """Settle what was seen in Kubernetes; returns ms until the next item is due, -1 where there is none."""

    async def confirm_window(self, shard: int, confirmation: WindowConfirmation) -> int:
        """Settle what was seen of a window's members; returns like `confirm`."""

    async def payloads(self, shard: int, fingerprints: Sequence[str]) -> list[str]:
        """What the requests of the fingerprints are made of; empty where it is not known."""

    async def windows(self, shard: int, first: int, last: int) -> OpenWindows:
        """The windows that collect, from place `first` to `last` by their end; what is in no queue is queued."""

    async def look(self, shard: int, fingerprint: str) -> Seen:
        """What this shard holds of a fingerprint."""

    async def postpone(self, shard: int, item: str, *, delay: float, attempts: int) -> None:
        """Make a claimed item (a fingerprint, or `window_item`) due again in `delay` seconds."""

    async def hurry(self, shard: int, *, spread: float) -> int:
        """Make what was put off after failures due within `spread` seconds, evenly; returns how many items."""

    async def arrange(self, shard: int, fingerprint: str, *, known: int) -> int:
        """The generation under which the next request is created, above `known`."""

    async def note(self, shard: int, notes: Sequence[Note]) -> None:
        """Keep notes for the sender's retry."""

    async def take_notes(self, shard: int, notes: Sequence[Note]) -> list[bool]:
        """Hand out notes, each once."""

    async def sweep(self, shard: int) -> int:
        """Queue records that have something to write and are not queued; returns how many."""

    async def bury(self, shard: int, fingerprint: str, reason: str) -> None:
        """Put a fingerprint among the dead letters."""

    async def exhume(self, shard: int, fingerprint: str) -> bool:
        """Try a dead letter again."""

    async def dead_letters(self, shard: int) -> list[DeadLetter]:
        """All dead letters of the shard, the oldest first."""


class RedisStore:
    """The store over a Redis client."""

    def __init__(
        self, client: Client, keys: Keys, *, write_interval: float, write_spread: float = WRITE_SPREAD
    ) -> None:
        """A request is counted on at most once in `write_interval` seconds, and all of them together at most once in
        `write_spread`, as far as they wait for it."""
        self._client = client
        self._keys = keys
        self._interval = round(write_interval * 1000)
        self._spread = round(write_spread * 1000) * keys.shards
        self._admit_reply = Reply(AdmitReply)
        self._claim_reply = Reply(Claim)
        self._windows_reply = Reply(OpenWindows)
        self._seen_reply = Reply(Seen)
        self._int_reply = Reply(int)
        self._bools_reply = Reply(list[bool])
        self._encode = msgspec.msgpack.Encoder().encode

    @property
    def shards(self) -> int:
        return self._keys.shards

    def shard(self, group: str) -> int:
        return self._keys.shard(group)

    async def admit(
        self, shard: int, messages: Sequence[Admission], *, notes_taken: bool, life: str = ""
    ) -> AdmitReply:
        ended = [message for message in messages if message.kind is Kind.RESOLVED]
        if len(ended) == len(messages):
            return await self._admit("resolve", shard, messages, notes_taken=notes_taken, life=life)
        try:
            return await self._admit("admit", shard, messages, notes_taken=notes_taken, life=life)
        except StoreRefused as refusal:
            if refusal.kind == "oom" and ended:
                await self._resolve_at_least(shard, ended, notes_taken=notes_taken)
            raise

    async def ask(self, shard: int, messages: Sequence[Admission]) -> AdmitReply:
        bare = [
            msgspec.structs.replace(
                message, payload="", rule=IMMEDIATE, proposal="", window="", window_state=WindowState.NONE
            )
            for message in messages
        ]
        return await self._admit("resolve", shard, bare, notes_taken=True)

    async def _resolve_at_least(self, shard: int, ended: Sequence[Admission], *, notes_taken: bool) -> None:
        """Redis is full and took no alert: let those that ended leave their windows all the same.

        What that settled is told to whoever next asks about the slot, so the answer here may be lost.
        """
        with contextlib.suppress(StoreError):
            await self._admit("resolve", shard, ended, notes_taken=notes_taken)

    async def _admit(
        self, script: str, shard: int, messages: Sequence[Admission], *, notes_taken: bool, life: str = ""
    ) -> AdmitReply:
        keys = (self._keys.queue(shard), self._keys.notes(shard), self._keys.sentinel(shard))
        token = secrets.token_hex(8)
        argument = self._encode((self._interval, self._spread, notes_taken, life, token, messages))
        return self._admit_reply.decode(
            await self._client.script(script, keys, *self._roots(shard), argument)
        )

    async def claim(self, shard: int, *, limit: int, lease: float, identify: bool) -> Claim:
        keys = (self._keys.queue(shard), self._keys.sentinel(shard))
        reply = await self._client.script(
            "claim",
            keys,
            *self._roots(shard),
            limit,
            round(lease * 1000),
            # A new one each time: after a FLUSHALL the old one would say that nothing had happened.
            secrets.token_hex(8) if identify else "",
            patient=True,
        )
        return self._claim_reply.decode(reply)

    async def confirm(self, shard: int, confirmations: Sequence[Confirmation]) -> int:
        keys = (self._keys.queue(shard),)
        argument = self._encode((self._interval, self._spread, confirmations))
        return self._int_reply.decode(
            await self._client.script("confirm", keys, self._keys.root(shard), argument, patient=True)
        )

    async def confirm_window(self, shard: int, confirmation: WindowConfirmation) -> int:
        # One flat array: an encoded struct is an array, so what comes before it is put into the same one.
        fields = (
            self._interval,
            self._spread,
            confirmation.id,
            confirmation.gone,
            confirmation.wrote,
            confirmation.members,
        )
        reply = await self._client.script(
            "confirm_window",
            (self._keys.queue(shard),),
            *self._roots(shard),
            self._encode(fields),
            patient=True,
        )
        return self._int_reply.decode(reply)

    async def payloads(self, shard: int, fingerprints: Sequence[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(fingerprints), PAYLOAD_STEP):
            keys = [self._keys.record(shard, fp) for fp in fingerprints[start : start + PAYLOAD_STEP]]
            texts = await self._client.script("payloads", keys, patient=True)
            found.extend(text.decode("utf-8", "replace") for text in texts)
        return found

    async def windows(self, shard: int, first: int, last: int) -> OpenWindows:
        keys = (self._keys.queue(shard),)
        return self._windows_reply.decode(
            await self._client.script("storms", keys, *self._roots(shard), first, last, patient=True)
        )

    async def look(self, shard: int, fingerprint: str) -> Seen:
        keys = (self._keys.queue(shard), self._keys.record(shard, fingerprint), self._keys.dead(shard))
        return self._seen_reply.decode(
            await self._client.script("look", keys, *self._roots(shard), fingerprint, patient=True)
        )

    async def postpone(self, shard: int, item: str, *, delay: float, attempts: int) -> None:
        key = self._keys.root(shard) + item if item.startswith("w:") else self._keys.record(shard, item)
        await self._client.script(
            "postpone", (self._keys.queue(shard), key), item, round(delay * 1000), attempts
        )

    async def hurry(self, shard: int, *, spread: float) -> int:
        moved = until = left = 0
        while True:
            until, seen, brought = (
                int(number)
                for number in await self._client.script(
                    "hurry",
                    (self._keys.queue(shard),),
                    *(self._keys.root(shard), round(spread * 1000), until, left, HURRY_STEP),
                )
            )
            moved += brought
            left += seen - brought
            if seen < HURRY_STEP:
                return moved

    async def arrange(self, shard: int, fingerprint: str, *, known: int) -> int:
        keys = (self._keys.queue(shard), self._keys.record(shard, fingerprint))
        return int(await self._client.script("arrange", keys, known))

    async def note(self, shard: int, notes: Sequence[Note]) -> None:
        await self._client.script(
            "note", (self._keys.queue(shard), self._keys.notes(shard)), self._encode(notes)
        )

    async def take_notes(self, shard: int, notes: Sequence[Note]) -> list[bool]:
        keys = (self._keys.queue(shard), self._keys.notes(shard))
        return self._bools_reply.decode(await self._client.script("take_notes", keys, self._encode(notes)))

    async def sweep(self, shard: int) -> int:
        prefix = self._keys.record_prefix(shard)
        pattern = prefix.replace("[", "\\[").replace("?", "\\?").replace("*", "\\*") + "?" * 64
        found = await self._client.scan(pattern, key=prefix)
        mended = 0
        for start in range(0, len(found), SWEEP_STEP):
            keys = found[start : start + SWEEP_STEP]
            fingerprints = [key.removeprefix(prefix) for key in keys]
            mended += int(
                await self._client.script(
                    "sweep",
                    [self._keys.queue(shard), *keys],
                    *self._roots(shard),
                    *fingerprints,
                    patient=True,
                )
            )
        return mended

    async def bury(self, shard: int, fingerprint: str, reason: str) -> None:
        keys = (self._keys.queue(shard), self._keys.record(shard, fingerprint), self._keys.dead(shard))
        await self._client.script("bury", keys, fingerprint, reason)

    async def exhume(self, shard: int, fingerprint: str) -> bool:
        keys = (self._keys.queue(shard), self._keys.record(shard, fingerprint), self._keys.dead(shard))
        return bool(await self._client.script("exhume", keys, fingerprint))

    async def dead_letters(self, shard: int) -> list[DeadLetter]:
        dead = self._keys.dead(shard)
        listed = await self._client.command("ZRANGE", dead, 0, -1, "WITHSCORES", key=dead)
        letters = []
        for member, since in zip(listed[::2], listed[1::2], strict=True):
            fingerprint = member.decode("utf-8", "replace")
            key = self._keys.record(shard, fingerprint)
            stored = await self._client.command("HGETALL", key, key=key)
            names = (name.decode("utf-8", "replace") for name in stored[::2])
            record = dict(zip(names, stored[1::2], strict=True))
            if "d" in record:
                letters.append(_letter(fingerprint, float(since), record))
        return letters

    async def close(self) -> None:
        await self._client.close()

    def _roots(self, shard: int) -> tuple[str, str]:
        return self._keys.root(shard), self._keys.buffers(shard)


def _letter(fingerprint: str, since_ms: float, record: dict[str, bytes]) -> DeadLetter:
    waiting = sum(
        max(0, _number(value) - _number(record.get("b:" + field[2:], b"0")))
        for field, value in record.items()
        if field.startswith("n:")
    )
    return DeadLetter(
        fingerprint=fingerprint,
        reason=record["d"].decode("utf-8", "replace"),
        since_ms=round(since_ms),
        payload=record.get("p", b"").decode("utf-8", "replace"),
        occurrences=waiting,
    )


def _number(text: bytes) -> int:
    """Zero for what is no number of ours."""
    return int(text) if text.isdigit() else 0
