"""The span of a request that is served: below the sender's, where it says one, and above all that comes of it."""

from __future__ import annotations

from contextvars import Token

from aiohttp import web

from gateway.telemetry.tracing import Kind, Span, Tracer, current


class Served:
    """One request under way that is traced."""

    __slots__ = ("_span", "_token")

    def __init__(self, tracer: Tracer, request: web.BaseRequest, route: str, request_id: str) -> None:
        about = {
            "http.request.method": request.method,
            "http.route": route,
            "gateway.request_id": request_id,
        }
        above = request.headers.get("traceparent", "").strip()
        self._span: Span = tracer.begin(
            f"{request.method} {route}", Kind.SERVER, [above] if above else [], about
        )
        self._token: Token[str] = current.set(self._span.context)

    @property
    def context(self) -> str:
        """Empty where it is not recorded."""
        return self._span.context

    def end(self, status: int) -> None:
        """It is answered."""
        current.reset(self._token)
        self._span.set({"http.response.status_code": status})
        if status >= 500:
            self._span.fail(f"answered {status}")
        self._span.end()
