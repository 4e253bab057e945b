"""One HTTP call to a component on loopback, for the rig's clients of them: plain, on a connection of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class Refused(Exception):
    """A component answered with an error. `status` is the HTTP status, `body` what it said."""

    def __init__(self, method: str, url: str, status: int, body: str) -> None:
        super().__init__(f"{method} {url}: {status} {body.strip()}")
        self.status = status
        self.body = body


def ask(
    method: str,
    url: str,
    body: object = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> bytes:
    """What a component answers to a call, bytes as they are or anything else as JSON.

    Raises `Refused` for a status that is no success, `OSError` or `http.client.HTTPException` where no answer comes.
    """
    where = urlsplit(url)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    said = {"Content-Type": "application/json"} if data is not None else {}
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
    with contextlib.closing(connection):
        path = where.path + (f"?{where.query}" if where.query else "")
        connection.request(method, path, data, {**said, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
    if not 200 <= answer.status < 300:
        raise Refused(method, url, answer.status, content.decode(errors="replace"))
    return content


def ask_json(method: str, url: str, body: object = None, *, timeout: float = 10.0) -> Any:
    """The same, for an answer in JSON; None where it is empty."""
    content = ask(method, url, body, timeout=timeout)
    return json.loads(content) if content.strip() else None


def answers(url: str, *, timeout: float = 1.0) -> bool:
    """Whether a GET succeeds."""
    with contextlib.suppress(Refused, OSError, http.client.HTTPException):
        ask("GET", url, timeout=timeout)
        return True
    return False
