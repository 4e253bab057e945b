"""Answers: an object or a list in the form that the client asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import yaml
from aiohttp import web

from gateway.dev.kubernetes import printing
from gateway.dev.kubernetes.api import Page
from gateway.dev.kubernetes.kinds import Kind
from gateway.dev.kubernetes.negotiation import JSON, YAML, Accepted, Form
from gateway.dev.kubernetes.requests import continue_token
from gateway.dev.kubernetes.store import Stored
from gateway.dev.kubernetes.watching import Render, plain

_encoder = msgspec.json.Encoder()


def as_json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    """A document as it stands."""
    return web.Response(body=_encoder.encode(document), content_type=JSON, status=status)


class Renderer:
    """Makes answers. `clock` is for the ages in tables."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def one(
        self, kind: Kind, stored: Stored, form: Accepted, query: Mapping[str, str], status: int = 200
    ) -> web.Response:
        """One object."""
        if form.form is Form.TABLE:
            metadata = {"resourceVersion": str(stored.version)}
            return as_json(self._table(kind, [stored], metadata, query), status)
        if form.form is Form.METADATA:
            return as_json(printing.partial(stored), status)
        if form.media_type == YAML:
            text = yaml.safe_dump(stored.body(), default_flow_style=False, allow_unicode=True)
            return web.Response(text=text, content_type=YAML, status=status)
        return web.Response(body=stored.raw, content_type=JSON, status=status)

    def page(self, kind: Kind, page: Page, form: Accepted, query: Mapping[str, str]) -> web.Response:
        """A list, or a part of one."""
        metadata: dict[str, Any] = {"resourceVersion": str(page.version)}
        if kind.custom and form.form is Form.WHOLE:
            metadata["continue"] = ""  # as the real API does for these, and not for others
        if page.more is not None:
            metadata["continue"] = continue_token(page.version, page.more)
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
        if form.form is Form.TABLE:
            return as_json(self._table(kind, page.items, metadata, query))
        api_version, list_kind = kind.api_version, kind.list_kind
        items = [stored.raw for stored in page.items]
        if form.form is Form.METADATA:
            api_version, list_kind = "meta.k8s.io/v1", "PartialObjectMetadataList"
            items = [_encoder.encode(printing.partial(stored)) for stored in page.items]
        head = _encoder.encode({"kind": list_kind, "apiVersion": api_version, "metadata": metadata})
        body = b"".join((head[:-1], b',"items":[', b",".join(items), b"]}"))
        if form.media_type == YAML:
            text = yaml.safe_dump(msgspec.json.decode(body), default_flow_style=False, allow_unicode=True)
            return web.Response(text=text, content_type=YAML)
        return web.Response(body=body, content_type=JSON)

    def _table(
        self,
        kind: Kind,
        rows: Sequence[Stored],
        metadata: dict[str, Any],
        query: Mapping[str, str],
        *,
        with_columns: bool = True,
    ) -> dict[str, Any]:
        return printing.table(
            kind,
            rows,
            self._clock(),
            metadata=metadata,
            include=query.get("includeObject") or "Metadata",
            with_columns=with_columns,
        )

    def stream(self, kind: Kind, form: Accepted, query: Mapping[str, str]) -> Render:
        """How each object of a watch is to look."""
        if form.form is Form.METADATA:
            return lambda stored: _encoder.encode(printing.partial(stored))
        if form.form is not Form.TABLE:
            return plain
        pending: list[bool] = [True]  # the columns go with the first event only

        def render(stored: Stored) -> bytes:
            columns = bool(pending and pending.pop())
            metadata = {"resourceVersion": str(stored.version)}
            return _encoder.encode(self._table(kind, [stored], metadata, query, with_columns=columns))

        return render
