"""The OpenAPI 3.1 document: the routes as they describe themselves, and who may use them.

It holds nothing of alerts, of the state or of secrets, and no version of the program: that of the API only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway.config.settings import AuthMode
from gateway.model import API_GROUP
from gateway.web import problems
from gateway.web.api import errors, schemas
from gateway.web.api.operations import TAGS
from gateway.web.api.words import Answered, Example, Operation, Taken
from gateway.web.problems import Problem, ProblemBody, Reason
from gateway.web.routes import Route

OPENAPI: Final = "3.1.0"
API: Final = "1"
"""The version of the API, as in its paths."""
ALIASES: Final = "aliases"

_SCHEMES: Final[Mapping[AuthMode, Mapping[str, Any]]] = {
    AuthMode.BEARER: {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the gateway's own file.",
    },
    AuthMode.BASIC: {"type": "http", "scheme": "basic", "description": "A user and a password."},
    AuthMode.JWT: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A signed token: of the gateway's own (`gateway token issue`), or of an issuer.",
    },
    AuthMode.TOKENREVIEW: {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a Kubernetes service account.",
    },
    AuthMode.MTLS: {"type": "mutualTLS", "description": "A client certificate."},
}
_INTRODUCTION: Final = f"""\
Alertmanager posts webhooks; the gateway turns their alerts into `RemediationRequest` objects (`{API_GROUP}`) in \
Kubernetes, counts what fires again, and gathers what fires together.

A path with a trailing slash is the same path. `GET` may be `HEAD`: the same headers, no body. Every answer has \
`X-Request-Id`: the one of the request, where it sent a sane one, else a new one. Every error is a problem \
(RFC 9457, `{problems.CONTENT_TYPE}`), whose `reason` is one of these words:

"""
_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "X-Request-Id": {
        "description": "Names this request in answers and in the log.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which the same request may be served.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The schemes that are taken. There is none where only client certificates are.",
        "schema": {"type": "string"},
    },
}


def document(
    routes: Sequence[Route], modes: Sequence[AuthMode], *, beside: Mapping[int, Sequence[Route]]
) -> bytes:
    """The description of the routes, and of those of other listeners by their port, as JSON.

    `modes` are those of authentication: what is not public needs one of them.
    """
    modes = [mode for mode in modes if mode in _SCHEMES]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for path, item in _items(route, modes):
            paths.setdefault(path, {}).update(item)
    for port, others in beside.items():
        for route in others:
            for path, item in _items(route, modes):
                paths[path] = {**item, "servers": [_server(port)]}
    every = [*routes, *(route for others in beside.values() for route in others)]
    described = [about for route in every for about in route.about.values()]
    made = {
        "openapi": OPENAPI,
        "info": {
            "title": "Alert gateway",
            "version": API,
            "summary": "Alerts in, remediation requests out.",
            "description": _INTRODUCTION + _reasons(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            *({"name": name, "description": text} for name, text in TAGS.items()),
            {"name": ALIASES, "description": "Other names of the same."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.components(_decoded(described), _encoded(described)),
            "headers": _HEADERS,
            **({"securitySchemes": {mode.value: _SCHEMES[mode] for mode in modes}} if modes else {}),
        },
    }
    return msgspec.json.encode(made) + b"\n"


def _server(port: int) -> dict[str, Any]:
    return {
        "url": f"http://{{host}}:{port}",
        "description": "A listener of its own.",
        "variables": {"host": {"default": "localhost"}},
    }


def _reasons() -> str:
    rows = [
        f"| `{reason.value}` | {', '.join(map(str, kind.statuses))} | {kind.when} |"
        for reason, kind in errors.KINDS.items()
    ]
    return "\n".join(["| reason | status | the request was refused because |", "| --- | --- | --- |", *rows])


def _decoded(described: Sequence[Operation]) -> list[type]:
    taken = [about.takes for about in described if about.takes is not None]
    return list(dict.fromkeys(kind for takes in taken for kind in (takes.body, *takes.parts)))


def _encoded(described: Sequence[Operation]) -> list[type]:
    found: dict[type, None] = {ProblemBody: None}
    for about in described:
        bodies = [answer.body for answer in about.answers.values() if answer.body is not None]
        found.update(dict.fromkeys([*bodies, *about.more.values()]))
    return list(found)


def _items(route: Route, modes: Sequence[AuthMode]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each path of a route with its operations: its own name first, then aliases."""
    slashed = any(about.slash for about in route.about.values())
    names = [
        name for path in (route.path, *route.aliases) for name in ([path, f"{path}/"] if slashed else [path])
    ]
    for number, path in enumerate(names):
        yield (
            path,
            {
                method.lower(): _operation(about, route, modes, alias=number)
                for method, about in route.about.items()
            },
        )


def _operation(about: Operation, route: Route, modes: Sequence[AuthMode], *, alias: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": f"{about.name}{alias + 1}" if alias else about.name,
        "tags": [ALIASES if alias else about.tag],
        "summary": f"{about.summary} (as `{route.path}`)" if alias else about.summary,
        "description": about.description,
        "security": [] if route.public else [{mode.value: []} for mode in modes],
    }
    if about.parameter is not None:
        made["parameters"] = [
            {
                "name": route.path.partition("{")[2].rstrip("}"),
                "in": "path",
                "required": True,
                "description": about.parameter.description,
                "schema": about.parameter.schema,
                "example": about.parameter.example,
            }
        ]
    if about.takes is not None:
        made["requestBody"] = _body(about.takes)
    made["responses"] = {
        **{str(status): _answer(answer) for status, answer in about.answers.items()},
        **_problems(about, errors_of(about, route, modes)),
    }
    return made


def errors_of(about: Operation, route: Route, modes: Sequence[AuthMode]) -> frozenset[Reason]:
    """Every reason for which an operation may be refused."""
    found = about.errors | errors.EVERYWHERE
    if not route.public:
        found |= errors.GUARDED | (errors.IDENTIFIED if modes else frozenset())
    return found


def _body(takes: Taken) -> dict[str, Any]:
    content = {"schema": schemas.ref(takes.body), "examples": _examples(takes.examples)}
    return {"description": takes.description, "required": True, "content": {"application/json": content}}


def _answer(answer: Answered) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if answer.body is not None:
        content = {"schema": schemas.ref(answer.body), "examples": _examples(answer.examples)}
    return {
        "description": answer.description,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
        "content": dict.fromkeys(answer.media, content),
    }


def _examples(examples: Mapping[str, Example]) -> dict[str, Any]:
    return {
        name: {
            "summary": example.summary,
            "value": msgspec.to_builtins(example.value),
            **({"x-answer": example.answer} if example.answer is not None else {}),
        }
        for name, example in examples.items()
    }


def _problems(about: Operation, reasons: frozenset[Reason]) -> dict[str, Any]:
    by_status: dict[int, list[Reason]] = {}
    for reason, kind in errors.KINDS.items():
        if reason in reasons:
            for status in kind.statuses:
                by_status.setdefault(status, []).append(reason)
    return {str(status): _problem(status, found, about.more) for status, found in by_status.items()}


def _problem(
    status: int, reasons: Sequence[Reason], more: Mapping[Reason, type[msgspec.Struct]]
) -> dict[str, Any]:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    if any(errors.KINDS[reason].passes for reason in reasons):
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    kinds: list[type] = [ProblemBody, *dict.fromkeys(more[reason] for reason in reasons if reason in more)]
    members = {"status": {"const": status}, "reason": {"enum": [reason.value for reason in reasons]}}
    schema = schemas.ref(ProblemBody) if len(kinds) == 1 else {"anyOf": [schemas.ref(kind) for kind in kinds]}
    lines = [f"- `{reason.value}`: {errors.KINDS[reason].when}" for reason in reasons]
    return {
        "description": "\n".join([f"{HTTPStatus(status).phrase}:", *lines]),
        "headers": headers,
        "content": {
            problems.CONTENT_TYPE: {
                "schema": {"allOf": [schema, {"properties": members}]},
                "examples": {
                    reason.value: _refused(status, reason) for reason in reasons if reason not in more
                },
            }
        },
    }


def _refused(status: int, reason: Reason) -> dict[str, Any]:
    when = errors.KINDS[reason].when
    value = msgspec.json.decode(Problem(status, reason, when.replace("`", "")).body("8f2b6c1d-0000002a"))
    return {"summary": reason.value.replace("_", " "), "value": value}
