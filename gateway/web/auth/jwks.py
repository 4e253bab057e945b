"""The keys of an issuer, as its JWKS (RFC 7517) tells them.

They are read in the background, and once more when a token names a key that is not there: an issuer that changes its
keys is believed with the first token of the new one. A key nobody knows cannot make the gateway ask more often than
every few seconds. While the issuer does not answer, its last keys hold for a day.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec
import structlog

from gateway.config.settings import is_loopback
from gateway.web.auth.keys import SHORTEST_RSA, VerifyingKey

log = structlog.get_logger(__name__)

REFRESH: Final = 300.0
"""Seconds between two readings."""
AGAIN: Final = 5.0
"""Seconds between two readings at least, however many tokens name keys that are not there."""
LIMIT: Final = 3.0
"""Seconds for one reading."""
KEEP: Final = 86_400.0
"""Seconds for which keys hold that could not be read again."""
LARGEST: Final = 256 * 1024
"""Bytes of a JWKS."""

_ALGORITHMS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
"""What a key of a kind and curve may be used with. A shared secret is not among them: a JWKS is public."""


class KeysUnavailableError(Exception):
    """Whether the issuer has such a key cannot be told now."""


class Jwks:
    """The keys of one issuer, by their ids."""

    def __init__(
        self, url: str, *, algorithms: Collection[str], ca_file: str | None, clock: Callable[[], float]
    ) -> None:
        """`ca_file` holds the CAs of the issuer's own certificate, by default the system's; `clock` is monotonic."""
        self._url = url
        self._allowed = frozenset(algorithms)
        self._ca_file = ca_file
        self._clock = clock
        self._keys: Mapping[str, VerifyingKey] = {}
        self._read_at: float | None = None
        self._tried_at = -AGAIN
        self._reading: asyncio.Task[None] | None = None
        self._error = ""
        self.generation = 0
        """Grows when the keys change: what was verified with others has to be verified again."""

    async def find(self, kid: str) -> VerifyingKey | None:
        """The key of this id, None where the issuer has none. Raises `KeysUnavailableError`."""
        if self._read_at is not None and self._clock() - self._read_at < KEEP and kid in self._keys:
            return self._keys[kid]
        if self._read_at is None or self._clock() - self._read_at >= AGAIN:
            await self._again()
        return self._keys.get(kid)

    async def run(self) -> None:
        """Read the keys now and then."""
        while True:
            try:
                await self._again()
                pause = REFRESH
            except KeysUnavailableError:
                pause = AGAIN
            await asyncio.sleep(pause)

    def warnings(self) -> Sequence[str]:
        """What is wrong with the keys now."""
        if not self._error:
            return ()
        state = "none is known" if self._read_at is None else "those read last hold"
        return [f"the keys of auth.jwt.jwks_url cannot be read, {state}: {self._error}"]

    def close(self) -> None:
        """End a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()

    async def _again(self) -> None:
        """Read the keys, all who ask at once with one reading. Raises `KeysUnavailableError`."""
        if self._reading is None:
            if self._clock() - self._tried_at < AGAIN:
                raise KeysUnavailableError
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._read(), name="jwks")
            self._reading.add_done_callback(self._done)
        await asyncio.shield(self._reading)
        if self._error:
            raise KeysUnavailableError

    def _done(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # whoever waited has it, too

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                keys = read_keys(await self._fetch(), self._allowed)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._error = (str(error) or type(error).__name__)[:200]
            log.warning("keys of the issuer cannot be read", url=self._url, error=self._error)
            return
        self._error = ""
        self._read_at = self._clock()
        if keys.keys() != self._keys.keys():
            log.info("keys of the issuer read", url=self._url, keys=sorted(keys))
        self._keys = keys
        self.generation += 1

    async def _fetch(self) -> bytes:
        context: ssl.SSLContext | bool = True
        if self._ca_file is not None:
            context = ssl.create_default_context(cafile=self._ca_file)
        async with (
            # A proxy of the environment is for what is outside; it would not find this machine's loopback.
            aiohttp.ClientSession(trust_env=not is_loopback(urlsplit(self._url).hostname or "")) as session,
            session.get(self._url, ssl=context, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"it answers {response.status}")
            body = await response.content.read(LARGEST + 1)
            while len(body) <= LARGEST and (more := await response.content.read(LARGEST)):
                body += more
        if len(body) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        return body


def read_keys(body: bytes, allowed: frozenset[str]) -> Mapping[str, VerifyingKey]:
    """The usable keys of a JWKS, by id; without one, a key has the id "". Raises `ValueError` where there is none."""
    try:
        entries = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no JWKS: {error}") from error
    keys: dict[str, VerifyingKey] = {}
    for entry in entries if isinstance(entries, list) else ():
        key = _usable(entry, allowed) if isinstance(entry, dict) else None
        if key is not None:
            keys[str(entry.get("kid", ""))] = key
    if not keys:
        raise ValueError("it holds no key that auth.jwt.algorithms allows")
    return keys


def _usable(entry: dict[str, Any], allowed: frozenset[str]) -> VerifyingKey | None:
    kind = str(entry.get("kty"))
    curve = "" if kind == "RSA" else str(entry.get("crv"))
    algorithms = _ALGORITHMS.get((kind, curve), frozenset()) & allowed
    if "alg" in entry:
        algorithms &= {str(entry["alg"])}
    if not algorithms or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    try:
        # The library wants one algorithm to read the key by; all of its kind read it in the same way.
        key = jwt.PyJWK(entry, algorithm=min(algorithms)).key
        if kind == "RSA" and getattr(key, "key_size", 0) < SHORTEST_RSA:
            return None
        return VerifyingKey(key, algorithms)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
