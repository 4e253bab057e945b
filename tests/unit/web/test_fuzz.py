"""Whatever is posted or asked for, the answer is no 5xx and a well-formed one."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote, quote_from_bytes

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.described import Described
from tests.unit.web.harness import Service

WEBHOOK = "/v1/webhooks/prometheus"

texts = st.text(max_size=20) | st.sampled_from(
    ["alertname", "namespace", "status", "resolved", "firing", "\x00"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
alerts = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["firing", "resolved"]) | values,
        "labels": st.dictionaries(texts, texts, max_size=5).map(lambda labels: {"alertname": "A", **labels})
        | values,
        "annotations": st.dictionaries(texts, texts, max_size=3) | values,
        "startsAt": st.datetimes().map(lambda time: time.isoformat() + "Z") | values,
        "endsAt": st.datetimes().map(lambda time: time.isoformat() + "Z") | values,
        "fingerprint": texts | values,
    },
)
webhooks = st.fixed_dictionaries(
    {"alerts": st.lists(alerts | values, max_size=5) | values},
    optional={"truncatedAlerts": values, "receiver": values, "version": values, "groupLabels": values},
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | webhooks.map(lambda value: json.dumps(value).encode())
    | webhooks.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
)
relaxed = settings(
    max_examples=300,
    deadline=None,
    # In the place of those of the profile, so that one has to be named here again.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def test_arbitrary_bodies_never_give_a_5xx(service: Service) -> None:
    loop = asyncio.get_running_loop()

    @relaxed
    @given(bodies)
    def check(body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        request = service.ask("POST", WEBHOOK, data=body, headers=headers)
        reply = asyncio.run_coroutine_threadsafe(request, loop).result(30)
        assert reply.status in (201, 202, 400, 422)
        answer = json.loads(reply.body)
        if reply.status < 300:
            assert reply.headers["Content-Type"] == "application/json"
            assert len(answer["alerts"]) == sum(answer["counts"].values()) == len(json.loads(body)["alerts"])
        else:
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert answer["status"] == reply.status

    # hypothesis is synchronous: it runs in a thread, and the service goes on in this loop.
    await asyncio.to_thread(check)


segments = (
    st.binary(max_size=40).map(quote_from_bytes)
    | st.text(max_size=70).map(lambda text: quote(text, safe="/?#;=%", errors="replace"))
    | st.text("0123456789abcdefABCDEF", min_size=62, max_size=66)
    | st.sampled_from([".", "..", "%2e%2e%2f", "%00", "%ff%fe", "%u0041", "%", "%%30", "swagger-ui.css%00"])
)


async def test_arbitrary_names_in_a_path_never_give_a_5xx(service: Service) -> None:
    loop = asyncio.get_running_loop()
    description = Described((await service.ask("GET", "/openapi.json")).body)

    @relaxed
    @given(st.sampled_from(["/v1/alerts/{fingerprint}", "/docs/{asset}", "/{anything}"]), segments)
    def check(path: str, segment: str) -> None:
        target = path.partition("{")[0] + segment
        request = service.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = asyncio.run_coroutine_threadsafe(request, loop).result(30).partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert status < 500
        if status >= 400:
            assert b"Content-Type: application/problem+json" in head
            schema = {"$ref": "#/components/schemas/ProblemBody"}
            assert not description.faults(schema, json.loads(body))

    await asyncio.to_thread(check)
