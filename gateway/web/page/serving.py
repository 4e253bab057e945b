"""`/` and what it loads, and `/v1/overview`: what it shows, once as JSON, or again and again as events.

The page and its files are the same for everybody and tell nothing, so they are public: a browser that opens a page
cannot send a token. What they show is asked for by the page's script, as any other client would ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Final

from aiohttp import hdrs

from gateway.web.api import overviewing
from gateway.web.page.broadcast import Broadcast
from gateway.web.page.overview import Observer
from gateway.web.problems import Problem, Reason
from gateway.web.routes import Call, Reply, Route
from gateway.web.text import to_json

EVENTS: Final = "text/event-stream"

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Scripts and styles from here alone, and no text ever becomes markup: alerts are the words of strangers."""

_KINDS: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FILES: Final = ("page.css", "page.js", "stream.js", "access.js", "views.js", "dom.js", "words.js", "icon.svg")
"""All that the page loads."""


class Page:
    """The handlers, and the pictures that they show."""

    def __init__(
        self, observer: Observer, broadcast: Callable[[Page], Broadcast] = lambda page: Broadcast(page.event)
    ) -> None:
        """Needs a running loop."""
        self._observer = observer
        self.broadcast: Final = broadcast(self)

    def routes(self) -> list[Route]:
        """The page's paths."""
        return [
            Route("/", {"GET": self.page}, {"GET": overviewing.PAGE}, public=True),
            Route("/page/{asset}", {"GET": self.asset}, {"GET": overviewing.ASSET}, public=True),
            Route("/v1/overview", {"GET": self.overview}, {"GET": overviewing.OVERVIEW}),
        ]

    async def page(self, _call: Call) -> Reply:
        """The page."""
        headers = {"Content-Security-Policy": _POLICY}
        return Reply(_file("index.html"), content_type="text/html; charset=utf-8", headers=headers)

    async def asset(self, call: Call) -> Reply:
        """One file of the page."""
        name = call.parameter
        if name not in FILES:
            raise Problem(404, Reason.NOT_FOUND, "there is nothing under this path")
        return Reply(_file(name), content_type=_KINDS[name.rpartition(".")[2]])

    async def overview(self, call: Call) -> Reply:
        """What the page shows: now, or, where the client takes events, from now on."""
        if EVENTS not in call.request.headers.get(hdrs.ACCEPT, ""):
            return Reply(to_json(await self._observer.take()) + b"\n")
        viewer = self.broadcast.join()
        # A proxy that gathers what it passes on would make it late.
        headers = {"X-Accel-Buffering": "no"}
        return Reply(b"", content_type=EVENTS, headers=headers, pieces=viewer.pieces())

    async def event(self) -> bytes:
        """One picture, as an event."""
        return b"event: overview\ndata: " + to_json(await self._observer.take()) + b"\n\n"


@cache
def _file(name: str) -> bytes:
    return (resources.files("gateway.web.page") / "files" / name).read_bytes()
