"""Whatever is posted, the answer is no 5xx and a well-formed one."""

from __future__ import annotations

import asyncio
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
