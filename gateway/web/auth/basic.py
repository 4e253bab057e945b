"""Mode `basic`: `Authorization: Basic <user:password>` (RFC 7617), against a file of htpasswd's form.

A hash that is worth having takes a tenth of a second to check, too long for the event loop and for each webhook. So
passwords are checked in a few threads, a bounded number of them at once, and what was found right is remembered for a
while under a keyed hash. Past the bound the answer is 503: guessing passwords must not stop those who know theirs, and
a sender whose password is remembered does not wait at all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import argon2
import bcrypt

from gateway.config.settings import AuthMode
from gateway.errors import ConfigurationError
from gateway.web.auth.caching import Cache
from gateway.web.auth.files import WatchedFile
from gateway.web.auth.identities import BASIC_CHALLENGE, Authenticator, Credentials, Identity, Refusal, Result

THREADS: Final = 2
WAITING: Final = 32
"""Passwords that are checked or wait for it, at most."""
REMEMBERED: Final = 1024
"""Passwords that were right, at most."""
REMEMBER: Final = 60.0
"""Seconds for which a password that was right is not checked again, unless the file changes."""
LONGEST: Final = 1024
"""Bytes of a password; a longer one is nobody's."""

_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1\d|2\d|3[01])\$[./A-Za-z0-9]{53}")
_MISSING: Final = Refusal(Result.MISSING)
_MALFORMED: Final = Refusal(Result.MALFORMED, "not base64 of user:password")
_WRONG: Final = Refusal(Result.INVALID, "no such user, or a wrong password")
_BUSY: Final = Refusal(Result.UNAVAILABLE, "too many passwords wait to be checked")

Users = Mapping[str, str]
"""Name → hash of the password."""


class Basic(Authenticator):
    """Knows senders by their passwords."""

    mode = AuthMode.BASIC
    challenge = BASIC_CHALLENGE

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Reads the file; raises `ConfigurationError`. `clock` is monotonic, in seconds."""
        self._file = WatchedFile("auth.users_file", path, read_users, clock)
        self._users = self._file.content()
        self._right: Cache[Identity] = Cache(REMEMBERED, REMEMBER, clock)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}

    async def examine(self, credentials: Credentials, /) -> Identity | Refusal:
        if credentials.scheme != "basic":
            return _MISSING
        users = self._file.content()
        if users is not self._users:
            self._users = users
            self._right.clear()
            self._under_way = {}
        key = self._right.key(credentials.value)
        known = self._right.get(key)
        if known is not None:
            return known
        pair = _decoded(credentials.value)
        if pair is None:
            return _MALFORMED
        user, password = pair
        right = await self._verified(key, users, user, password)
        if right is None:
            return _BUSY
        if not right:
            return _WRONG
        identity = Identity(user, AuthMode.BASIC)
        if users is self._users:  # else the file changed while the thread worked
            self._right.put(key, identity)
        return identity

    def close(self) -> None:
        """Start no further check."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _verified(self, key: bytes, users: Users, user: str, password: bytes) -> bool | None:
        """Whether the password is right; None where it cannot be checked now.

        The same credential that comes several times at once is checked once: so does a burst of Alertmanager's.
        """
        under_way = self._under_way
        check = under_way.get(key)
        if check is None:
            if len(under_way) >= WAITING:
                return None
            # Somebody unknown takes as long as somebody known: a stranger does not learn who is.
            stored = users.get(user)
            wanted = next(iter(users.values())) if stored is None else stored
            loop = asyncio.get_running_loop()
            check = loop.run_in_executor(self._threads, matches, wanted, password)
            under_way[key] = check
            check.add_done_callback(lambda _done: under_way.pop(key, None))
        # A sender that leaves takes its own waiting away, not the check that others wait for.
        return await asyncio.shield(check) and user in users


def matches(stored: str, password: bytes) -> bool:
    """Whether the password is the one of the hash; slow by intent."""
    if len(password) > LONGEST:
        return False
    if stored.startswith("$argon2"):
        try:
            return argon2.PasswordHasher().verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    try:
        return bcrypt.checkpw(password, stored.encode())
    except ValueError:  # longer than bcrypt looks at: what it would ignore must not be ignored
        return False


def read_users(content: bytes) -> Users:
    """Name → hash. Raises `ConfigurationError` with every fault, never with a hash."""
    users: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, stored = text.partition(":")
        where = f"auth.users_file: line {number}"
        if not name or not stored:
            faults.append(f"{where}: not of the form user:hash")
        elif not _usable(stored):
            faults.append(f"{where}: the hash of {name!r} is neither bcrypt ($2y$…) nor argon2 ($argon2id$…)")
        elif name in users:
            faults.append(f"{where}: the user {name!r} is there already")
        else:
            users[name] = stored
    if not users and not faults:
        faults.append("auth.users_file: it holds no user; at least one line user:hash is needed")
    if faults:
        raise ConfigurationError(faults)
    return users


def _usable(stored: str) -> bool:
    if _BCRYPT.fullmatch(stored):
        return True
    try:
        argon2.extract_parameters(stored)
    except (argon2.exceptions.InvalidHashError, ValueError):
        return False
    return True


def _decoded(value: str) -> tuple[str, bytes] | None:
    try:
        text = base64.b64decode(value, validate=True)
        user, colon, password = text.partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
