"""Which handler a path leads to.

Paths are few and fixed, so they are looked up in one dictionary; at most their last segment is a parameter. A
path with a trailing slash is the same path: it is never redirected, because Alertmanager follows a redirect
with a GET that it takes for a delivery.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web

from gateway.web.api.words import Operation

JSON: Final = "application/json"


class Reply(msgspec.Struct, frozen=True):
    """What a handler answers when all is well."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] | None = None
    """Beside those that every answer has."""
    pieces: AsyncGenerator[bytes, None] | None = None
    """What is sent in the place of the body, as it comes; the status is 200 then."""


class Call:
    """One request on its way: what the shell found out about it before the handler got it."""

    __slots__ = ("body", "held", "identity", "parameter", "request", "request_id")

    def __init__(self, request: web.BaseRequest, request_id: str, parameter: str) -> None:
        self.request = request
        self.request_id = request_id
        self.parameter = parameter
        """The last segment of the path, where the route has a parameter."""
        self.identity = ""
        """Who sends it, empty for an anonymous sender."""
        self.body: bytes | None = None
        """The body as it was read, where the handler wants it to be recorded."""
        self.held = 0
        """Bytes reserved for the body; the shell gives them back after the answer."""

    @property
    def source(self) -> str:
        """The address of the peer."""
        return self.request.remote or ""


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """A path and its methods."""

    path: str
    """`/fixed` or `/fixed/{parameter}`; also the metrics' label `route`."""
    handlers: Mapping[str, Handler]
    about: Mapping[str, Operation] = field(default_factory=dict)
    """What each method takes and answers, for the description of the API."""
    aliases: tuple[str, ...] = ()
    public: bool = False
    """Answered without authentication: what a prober asks and what tells nothing about alerts."""
    allow: str = field(init=False)
    """The methods, as the header `Allow` lists them."""

    def __post_init__(self) -> None:
        methods = dict(self.handlers)
        if "GET" in methods:
            methods.setdefault("HEAD", methods["GET"])
        object.__setattr__(self, "handlers", methods)
        object.__setattr__(self, "allow", ", ".join(sorted(methods)))


class Routes:
    """All routes of a listener."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all: Final[tuple[Route, ...]] = tuple(routes)
        self._fixed: dict[str, Route] = {}
        self._open_ended: list[tuple[str, Route]] = []
        for route in self.all:
            for path in (route.path, *route.aliases):
                fixed, brace, _ = path.partition("{")
                if brace:
                    self._open_ended.append((fixed, route))
                else:
                    self._fixed[path] = route

    def find(self, request: web.BaseRequest) -> tuple[Route | None, str]:
        """The route of a request and its parameter; None for an unknown path."""
        route = self._fixed.get(request.raw_path)  # most requests: no query, nothing encoded, no slash
        if route is not None:
            return route, ""
        path = request.path.rstrip("/") or "/"
        route = self._fixed.get(path)
        if route is not None:
            return route, ""
        for prefix, route in self._open_ended:
            parameter = path[len(prefix) :]
            if path.startswith(prefix) and parameter and "/" not in parameter:
                return route, parameter
        return None, ""
