"""HTTP: one handler that finds out what a request asks for, calls the API and renders the answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.dev.kubernetes import discovery, errors, requests
from gateway.dev.kubernetes.api import Api, Written
from gateway.dev.kubernetes.kinds import JSON_PATCH, NAMESPACES, Kind
from gateway.dev.kubernetes.negotiation import JSON, Accepted, accepted, decode, parse_json
from gateway.dev.kubernetes.rendering import Renderer, as_json
from gateway.dev.kubernetes.requests import Target
from gateway.dev.kubernetes.watching import Watch

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes of a request, as the real API takes them."""

_PATHS = ("/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version")
_LOCAL = frozenset(("127.0.0.1", "localhost", "[::1]", "::1"))


class Routes:
    """The handler. Both times in seconds; a `namespace_grace` of None leaves deleted namespaces Terminating."""

    def __init__(self, api: Api, *, bookmark_interval: float, namespace_grace: float | None) -> None:
        self._api = api
        self._bookmark_interval = bookmark_interval
        self._grace = namespace_grace
        self._render = Renderer(api.clock)
        self._watches: set[Watch] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    def stop(self) -> None:
        """Ends all watches, so that the server can stop."""
        for watch in self._watches:
            watch.stop()
        for timer in self._timers:
            timer.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers any request; every refusal is a `Status`."""
        try:
            if _host(request) not in _LOCAL:  # say, a browser that a foreign name led here
                raise errors.ApiError(403, "Forbidden", "the embedded API answers to loopback addresses only")
            return await self._route(request)
        except errors.ApiError as error:
            return as_json(error.body(), error.code)
        except web.HTTPRequestEntityTooLarge:
            return as_json(errors.too_large(BODY_LIMIT).body(), 413)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        found = requests.target(path, self._api)
        if found is not None:
            return await self._resource(request, found)
        parts = path.strip("/").split("/")
        if len(parts) == 4 and request.method == "POST" and parts[3] in discovery.REVIEWS.get(parts[1], ()):
            return await self._review(request, parts[1], parts[3])
        if request.method not in ("GET", "HEAD"):
            raise errors.no_such_resource()
        return self._meta(request, path, parts)

    # Everything but resources

    def _meta(self, request: web.Request, path: str, parts: list[str]) -> web.Response:
        kinds = list(self._api.kinds())
        document: dict[str, Any] | None = None
        match parts:
            case ["healthz" | "livez" | "readyz"] if not path.endswith("/"):
                return web.Response(text="ok")
            case ["version"]:
                document = discovery.VERSION
            case [""]:
                document = {"paths": list(_PATHS)}
            case ["api"]:
                document = discovery.core_versions(request.host)
            case ["api", version]:
                document = discovery.resources("", version, kinds)
            case ["api", *_]:
                raise errors.no_such_resource()
            case ["apis"]:
                document = discovery.groups(kinds)
            case ["apis", group]:
                document = discovery.group(group, kinds)
            case ["apis", group, version]:
                document = discovery.resources(group, version, kinds)
            case ["openapi", "v3"]:
                document = discovery.openapi_index(kinds)
            case ["openapi", "v3", *root]:
                document = discovery.openapi_document("/".join(root), kinds)
        if document is None:
            return web.Response(text="404 page not found\n", status=404)
        return as_json(document)

    async def _review(self, request: web.Request, group: str, plural: str) -> web.Response:
        """Whoever asks may do everything: there is one user."""
        kind = discovery.REVIEWS[group][plural]
        given = decode(await request.read(), request.headers.get("Content-Type", ""), kind)
        spec = given.get("spec", {}) if isinstance(given, dict) else {}
        answer: dict[str, Any] = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {}}
        if group == "authorization.k8s.io":
            answer |= {"spec": spec, "status": {"allowed": True}}
        else:
            user = {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
            answer["status"] = {"userInfo": user}
        return as_json(answer, 201)

    # Resources

    async def _resource(self, request: web.Request, found: Target) -> web.StreamResponse:
        kind, query = found.kind, request.query
        if found.subresource == "finalize" and kind is NAMESPACES and request.method == "PUT":
            return await self._finalize(request, found)
        if found.subresource and not (found.subresource == "status" and kind.has_status):
            raise errors.not_found(kind.about(found.name))
        named = bool(found.name)
        match request.method:
            case "GET" | "HEAD" if not named and (requests.flag(query, "watch")):
                return await self._watch(request, found)
            case "GET" | "HEAD" if not named:
                return self._list(found, query, _accepted(request))
            case "GET" | "HEAD":
                stored = self._api.get(kind, found.namespace, found.name)
                return self._render.one(kind, stored, _accepted(request), query)
            case "POST" if not named:
                if kind.namespaced and not found.namespace:
                    return web.Response(text="404 page not found\n", status=404)
                return await self._create(request, found)
            case "PUT" | "PATCH" if not named:
                raise errors.bad_request("name must be provided")
            case "PUT":
                options = requests.write_options(query, "UpdateOptions")
                body = await self._body(request, kind)
                written = self._api.replace(
                    kind, found.namespace, found.name, body, options, status=bool(found.subresource)
                )
                return self._written(kind, written, request)
            case "PATCH":
                return await self._patch(request, found)
            case "DELETE" if not found.subresource:
                return await self._delete(request, found)
        raise errors.method_not_allowed()

    def _list(self, found: Target, query: Mapping[str, str], form: Accepted) -> web.Response:
        wanted = requests.listing(query, found.kind, self._api.versions.current)
        page = self._api.list(
            found.kind,
            found.namespace,
            wanted.matches,
            limit=wanted.limit,
            version=wanted.version,
            after=wanted.after,
        )
        return self._render.page(found.kind, page, form, query)

    async def _body(self, request: web.Request, kind: Kind) -> Any:
        return decode(await request.read(), request.headers.get("Content-Type", ""), kind.kind)

    async def _create(self, request: web.Request, found: Target) -> web.Response:
        options = requests.write_options(request.query, "CreateOptions")
        body = await self._body(request, found.kind)
        written = self._api.create(found.kind, found.namespace, body, options)
        return self._written(found.kind, written, request, 201)

    async def _patch(self, request: web.Request, found: Target) -> web.Response:
        kind = found.kind
        options = requests.write_options(request.query, "PatchOptions")
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in kind.patches:
            raise errors.unsupported_media_type(kind.patches)
        patch = parse_json(await request.read(), "error decoding patch: ")
        if not isinstance(patch, list if media_type == JSON_PATCH else dict):
            into = "[]handlers.jsonPatchOp" if media_type == JSON_PATCH else "map[string]interface {}"
            found_type = (
                "array" if isinstance(patch, list) else "object" if isinstance(patch, dict) else "value"
            )
            message = (
                f"error decoding patch: json: cannot unmarshal {found_type} into Go value of type {into}"
            )
            raise errors.bad_request(message)
        written = self._api.patch(
            kind, found.namespace, found.name, media_type, patch, options, status=bool(found.subresource)
        )
        return self._written(kind, written, request)

    async def _delete(self, request: web.Request, found: Target) -> web.Response:
        kind, api = found.kind, self._api
        if ("delete" if found.name else "deletecollection") not in kind.verbs:
            raise errors.method_not_allowed()
        raw = await request.read()
        try:
            body = decode(raw, request.headers.get("Content-Type", ""), "DeleteOptions") if raw else None
        except errors.ApiError as error:
            raise errors.internal(error.message) if error.code == 400 else error from None
        options = requests.delete_options(request.query, body)
        if not found.name:
            if kind.namespaced and not found.namespace:
                return web.Response(text="404 page not found\n", status=404)
            page = api.delete_all(kind, found.namespace, requests.selection(request.query, kind), options)
            return self._render.page(kind, page, Accepted(), request.query)
        stored, gone = api.delete(kind, found.namespace, found.name, options)
        if kind is NAMESPACES and not options.dry_run:
            self._finish_later(stored.name)
        if not gone:
            return self._render.one(kind, stored, _accepted(request), request.query)
        details = {"name": stored.name, "group": kind.group, "kind": kind.plural, "uid": stored.uid}
        return as_json(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {key: value for key, value in details.items() if value},
            }
        )

    async def _finalize(self, request: web.Request, found: Target) -> web.Response:
        """What a namespace controller does when it is done: a terminating namespace without finalizers goes."""
        body = await self._body(request, found.kind)
        stored = self._api.get(found.kind, "", found.name)
        if isinstance(body, dict) and not (body.get("spec") or {}).get("finalizers"):
            self._api.finish_namespace(found.name)
        return self._render.one(found.kind, stored, _accepted(request), request.query)

    def _finish_later(self, namespace: str) -> None:
        if self._grace is None:
            return
        loop = asyncio.get_running_loop()
        self._timers = {timer for timer in self._timers if timer.when() > loop.time()}
        self._timers.add(loop.call_later(self._grace, self._api.finish_namespace, namespace))

    def _written(self, kind: Kind, written: Written, request: web.Request, status: int = 200) -> web.Response:
        response = self._render.one(kind, written.stored, _accepted(request), request.query, status)
        for warning in written.warnings:
            quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{quoted.encode("ascii", "replace").decode()}"')
        return response

    # Watching

    async def _watch(self, request: web.Request, found: Target) -> web.StreamResponse:
        kind, query = found.kind, request.query
        version, announce = requests.watch_version(query), requests.streams_list(query)
        if announce:
            version = None
        timeout = float(query.get("timeoutSeconds") or random.uniform(1800, 3600))
        watch = Watch(
            kind,
            self._api.collection(kind),
            self._api.versions,
            namespace=found.namespace,
            matches=requests.selection(query, kind),
            render=self._render.stream(kind, _accepted(request), query),
            bookmarks=requests.flag(query, "allowWatchBookmarks"),
            bookmark_interval=self._bookmark_interval,
        )
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        self._watches.add(watch)
        try:
            await response.prepare(request)
            async for chunk in watch.lines(version, timeout, announce=announce):
                await response.write(chunk)
        except ConnectionError:
            pass  # the client went away, which is how most watches end
        finally:
            self._watches.discard(watch)
        return response


def _accepted(request: web.Request) -> Accepted:
    return accepted(request.headers.get("Accept", ""))


def _host(request: web.Request) -> str:
    host = request.host
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
