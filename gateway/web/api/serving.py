"""`/openapi.json` and `/docs`: made once, when they are first asked for, and served from memory.

They are public: a description says what the routes are and how a sender shows who it is, as the answer 401 does, and
nothing of alerts, of the state or of secrets. The page is Swagger UI, whose files come from a package; everything that
the page loads comes from here, and its content security policy allows nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gateway.web.problems import Problem, Reason
from gateway.web.routes import Call, Reply

_PACKAGE: Final = "flask_swagger_ui"
"""Its folder `dist` is that of Swagger UI; its code is not imported, and needs nothing that is."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI draws with images that are part of its style sheet; nothing else comes from anywhere but here."""

_MEDIA: Final[Mapping[str, str]] = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript; charset=utf-8",
}
"""All that the page loads."""

_OURS: Final = frozenset({"start.js"})


class Description:
    """The handlers of the description and of its page."""

    def __init__(self, document: Callable[[], bytes]) -> None:
        """`document` makes the description; it takes a moment, and is asked once, in a thread."""
        self._make = document
        self._document = b""

    async def json(self, _call: Call) -> Reply:
        """The description."""
        if not self._document:
            self._document = await asyncio.to_thread(self._make)
        return Reply(self._document)

    async def page(self, _call: Call) -> Reply:
        """The page."""
        headers = {"Content-Security-Policy": _POLICY}
        return Reply(_ours("docs.html"), content_type="text/html; charset=utf-8", headers=headers)

    async def asset(self, call: Call) -> Reply:
        """One file of the page."""
        name = call.parameter
        if name not in _MEDIA:
            raise Problem(404, Reason.NOT_FOUND, "there is nothing under this path")
        return Reply(_ours(name) if name in _OURS else _theirs(name), content_type=_MEDIA[name])


@cache
def _ours(name: str) -> bytes:
    return (resources.files("gateway.web.api") / "pages" / name).read_bytes()


@cache
def _theirs(name: str) -> bytes:
    found = find_spec(_PACKAGE)
    assert found is not None, "the package is a dependency"
    assert found.origin is not None, "it has an __init__.py"
    return (Path(found.origin).parent / "dist" / name).read_bytes()
