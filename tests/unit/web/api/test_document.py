"""The description is a sound document, tells of every route and every error, and its examples are true to it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import openapi_spec_validator
import pytest

from gateway import __version__
from gateway.intake.payload import Webhook
from gateway.resilience.faults import FaultPoints
from gateway.web.api import docstrings, errors
from gateway.web.problems import Reason
from tests.integration.described import Described
from tests.unit.web.harness import Serve, Service

WEB = Path(__file__).parents[4] / "gateway" / "web"


async def described(service: Service) -> Described:
    reply = await service.ask("GET", "/openapi.json")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    return Described(reply.body)


@pytest.fixture
async def description(service: Service) -> Described:
    return await described(service)


async def test_it_is_openapi_3_1(description: Described) -> None:
    assert description.document["openapi"] == "3.1.0"
    openapi_spec_validator.validate(description.document)


@pytest.mark.parametrize("chaos", [False, True])
async def test_every_route_and_method_is_in_it_and_nothing_else(serve: Serve, *, chaos: bool) -> None:
    points = FaultPoints(clock=time.monotonic, struck=lambda *_: None)
    service = await serve(faults=points if chaos else None, chaos={"enabled": chaos})
    description = await described(service)
    assert ("/v1/admin/chaos" in description.document["paths"]) is chaos
    routed = {
        (path, method)
        for route in (*service.web.routes.all, *service.web.scraped.all)
        for path in (route.path, *route.aliases)
        for method in route.handlers
        if method != "HEAD"
    }
    told = {(path.rstrip("/") or "/", method) for path, method, _ in description.operations()}
    assert told == routed
    elsewhere = {path for path, item in description.document["paths"].items() if "servers" in item}
    assert elsewhere == {route.path for route in service.web.scraped.all}


async def test_the_webhook_is_in_it_under_each_of_its_names(description: Described) -> None:
    posted = [path for path, method, _ in description.operations() if method == "POST"]
    names = ("/v1/webhooks/prometheus", "/api/v1/signals/prometheus")
    assert posted == [path for name in names for path in (name, f"{name}/")]


def test_every_reason_has_a_status_and_a_sentence() -> None:
    assert set(errors.KINDS) == set(Reason)


def test_every_reason_is_raised_with_the_status_that_is_described() -> None:
    raised = {
        (Reason[name], int(status))
        for file in WEB.rglob("*.py")
        for status, name in re.findall(r"Problem\(\s*(\d{3}),\s*Reason\.(\w+)", file.read_text())
    }
    assert len(raised) > 10
    assert raised <= {(reason, kind.status) for reason, kind in errors.KINDS.items()}


async def test_every_error_is_described_where_it_can_be_met(serve: Serve, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("alertmanager:" + "s" * 32 + "\n")
    tokens.chmod(0o600)
    description = await described(await serve(auth={"mode": "bearer", "tokens_file": str(tokens)}))
    told: set[str] = set()
    for _, _, operation in description.operations():
        for status, answer in operation["responses"].items():
            problem = answer["content"].get("application/problem+json")
            assert (problem is not None) == (status >= "300")
            if problem is not None:
                told.update(problem["schema"]["allOf"][1]["properties"]["reason"]["enum"])
    # What no path that exists is answered, and no method that it takes.
    assert set(Reason) - told == {Reason.METHOD}


async def test_every_example_of_an_answer_is_valid(description: Described) -> None:
    examples = 0
    for path, method, operation in description.operations():
        for status, answer in operation["responses"].items():
            for media, content in answer["content"].items():
                for example in content.get("examples", {}).values():
                    examples += 1
                    description.check(method, path, int(status), media, json.dumps(example["value"]).encode())
    assert examples > 100


async def test_examples_of_bodies_are_valid_exactly_where_they_are_taken_whole(
    description: Described,
) -> None:
    schema = {"$ref": f"#/components/schemas/{Webhook.__name__}"}
    valid = {
        example.name
        for example in description.requests()
        if not description.faults(schema, json.loads(example.content))
    }
    assert valid == {"alertmanager", "lean", "resolved", "empty"}


@pytest.mark.parametrize("modes", [["bearer"], ["basic", "bearer"], ["none"]])
async def test_who_may_use_it_is_as_configured(serve: Serve, tmp_path: Path, modes: list[str]) -> None:
    secrets = {
        "bearer": ("tokens_file", "one:" + "s" * 32),
        "basic": ("users_file", "one:$2y$05$" + "a" * 53),
    }
    files = {}
    for mode in modes:
        if mode in secrets:
            key, text = secrets[mode]
            files[key] = str(tmp_path / key)
            (tmp_path / key).write_text(text + "\n")
            (tmp_path / key).chmod(0o600)
    service = await serve(auth={"mode": modes, **files})
    description = await described(service)
    known = [mode for mode in ("bearer", "basic") if mode in modes]
    assert list(description.document["components"].get("securitySchemes", ())) == known
    for path, _, operation in description.operations():
        public = path == "/" or path.startswith(
            ("/health", "/ready", "/openapi", "/docs", "/page", "/metrics")
        )
        assert operation["security"] == ([] if public else [{mode: []} for mode in known])
        assert ("401" in operation["responses"]) == (not public and bool(known))


async def test_it_says_nothing_of_this_program_and_its_state(description: Described) -> None:
    text = json.dumps({**description.document, "openapi": "", "paths": {}})
    assert __version__ not in text
    assert description.document["info"]["version"] == "1"


def test_the_texts_below_fields_are_those_of_the_source() -> None:
    below = docstrings.of_fields(Webhook)
    assert list(below) == ["truncatedAlerts"]
    assert below["truncatedAlerts"].startswith("Alerts that the sender dropped for good")
    assert "- `bad_parameter`" not in docstrings.of_type(Reason)
    assert docstrings.paragraphs("one\n    two\n\n    three\n    ") == "one two\n\nthree"
