"""Reading a request's body within bounds.

The bound of one body is checked against `Content-Length` before a byte is read, and against what arrives
while it is read, decompressed: a small body that unpacks into a large one is refused at the same size. The
bound of all bodies together keeps memory finite; who meets it is asked to come back.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gateway.web.problems import Problem, Reason, try_again
from gateway.web.routes import Call

JSON: Final = "application/json"
AT_FIRST: Final = 64 * 1024
"""Bytes of a body that has just begun, as far as it declares them: most bodies are smaller, and come whole."""


class Inflight:
    """How many bytes of bodies are in memory, of how many at most."""

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Reserve room, or raise the 503. One body alone always has room."""
        if self.held and self.held + size > self._limit:
            raise try_again(Reason.OVERLOADED, "too many bytes are being processed at once", close=True)
        self.held += size

    def give(self, size: int) -> None:
        """Give the room back."""
        self.held -= size


class BodyReader:
    """Reads bodies of JSON, each up to `limit` bytes, all together within `inflight`."""

    def __init__(self, limit: int, inflight: Inflight) -> None:
        self._limit = limit
        self._inflight = inflight

    def check_length(self, request: web.BaseRequest) -> None:
        """Refuse at once what says itself that it is too large."""
        declared = request.content_length
        if declared is not None and declared > self._limit:
            raise self._too_large()

    async def read(self, call: Call) -> bytes:
        """The body; its room is noted in `call.held` until `release`. Raises `Problem`."""
        request = call.request
        headers = request.headers
        if headers.get(hdrs.CONTENT_TYPE) != JSON:
            _check_type(headers.get(hdrs.CONTENT_TYPE, ""))
        if hdrs.CONTENT_ENCODING in headers:
            _check_coding(headers.getall(hdrs.CONTENT_ENCODING))
        if hdrs.EXPECT in headers:
            await _continue(request)
        # What is declared takes no room before it comes: those who never send it would keep others out.
        self._hold(call, min(request.content_length or 0, AT_FIRST))
        content = request.content
        try:
            first = await content.readany()
            if content.at_eof() and len(first) <= call.held:
                return first  # most bodies: they came with their headers
            return await self._collect(call, first)
        except web.RequestPayloadError as error:
            detail = "the body does not match its encoding"
            raise Problem(400, Reason.BAD_HTTP, detail, close=True) from error

    def release(self, call: Call) -> None:
        """The body of the call is no longer in memory."""
        self._inflight.give(call.held)
        call.held = 0

    async def _collect(self, call: Call, first: bytes) -> bytes:
        content = call.request.content
        chunks, size = [first], len(first)
        while True:
            if size > self._limit:
                raise self._too_large()
            self._hold(call, size)
            if content.at_eof():
                return b"".join(chunks)
            chunk = await content.readany()
            chunks.append(chunk)
            size += len(chunk)

    def _hold(self, call: Call, size: int) -> None:
        if size > call.held:
            self._inflight.take(size - call.held)
            call.held = size

    def _too_large(self) -> Problem:
        detail = f"the body is larger than {self._limit} bytes"
        return Problem(413, Reason.TOO_LARGE, detail, close=True)


def _check_type(header: str) -> None:
    media, *parameters = (part.strip().lower() for part in header.split(";"))
    if media and media != JSON and not ("/" in media and media.endswith("+json")):
        raise Problem(
            415,
            Reason.MEDIA_TYPE,
            "the body must be JSON (Content-Type: application/json)",
            headers={"Accept": JSON},
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            raise Problem(415, Reason.MEDIA_TYPE, "JSON is UTF-8; another charset is not taken")


def _check_coding(values: list[str]) -> None:
    codings = [coding.strip().lower() for value in values for coding in value.split(",")]
    if [coding for coding in codings if coding not in ("", "identity")] not in ([], ["gzip"]):
        raise wrong_coding()


def wrong_coding(*, close: bool = False) -> Problem:
    """The body is compressed in a way that is not taken; `close` where its end cannot be found."""
    return Problem(
        415,
        Reason.MEDIA_TYPE,
        "the body may be compressed with gzip only",
        headers={"Accept-Encoding": "gzip, identity"},
        close=close,
    )


async def _continue(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`: nothing speaks against the body, so it may be sent."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise Problem(417, Reason.EXPECTATION, "only 100-continue can be expected")
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer proper has not begun
