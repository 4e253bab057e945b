"""Bad input, and what it gets: by a running gateway, and with everything that it accepted in a real API server."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.integration.load import PATH, alert, webhook
from tests.integration.sight import ask, body, count_of, fires, idle, words
from tests.integration.windows import STEADY

ALIAS = "/api/v1/signals/prometheus"
LONG = "y" * 64 * 1024
PROBLEM = "application/problem+json"


@dataclass
class Running:
    """A gateway that all tests of this module share, as none of them does it any harm."""

    gateway: GatewayProcess
    redis: RedisServer
    cluster: Api
    namespace: str
    """Its fallback namespace, too: whatever it creates is there, or in a namespace that a test made."""

    def post(self, *alerts: object) -> tuple[int, Any]:
        status, answer = self.gateway.post(PATH, {"alerts": list(alerts)})
        return status, json.loads(answer)

    def counted(self, fingerprint: str) -> int:
        """The sum of a problem's counts, wherever its requests are."""
        label = f"remediation.kubernaut.io/fingerprint%3D{fingerprint[:63]}"
        return sum(count_of(request) for request in self.cluster.requests(selector=label))

    def settled(self) -> None:
        wait_until(lambda: idle(self.gateway), "everything to be confirmed", seconds=40, every=0.05)

    def dead(self) -> float:
        return self.gateway.metric("gateway_dead_letters_total")


@pytest.fixture(scope="module")
def running(control_plane: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    control_plane.install_crd()
    namespace = f"test-{os.urandom(5).hex()}"
    control_plane.create_namespace(namespace)
    redis = RedisServer(tmp_path_factory.mktemp("redis"), name="redis-bad-input")
    gateway = GatewayProcess(
        tmp_path_factory.mktemp("gateway"),
        name="gateway-bad-input",
        redis_url=redis.url,
        kubeconfig=control_plane.kubeconfig,
        settings={
            **STEADY,
            "kubernetes": {"fallback_namespace": namespace},
            "server": {"max_body": "2MiB"},
        },
    )
    try:
        redis.start()
        gateway.start()
        yield Running(gateway, redis, control_plane, namespace)
    finally:
        gateway.kill()
        redis.kill()
        control_plane.remove_namespace(namespace)


# --- the body as a whole

MALFORMED = {
    "not JSON": b"hello",
    "empty": b"",
    "truncated": b'{"alerts": [{"labels": {"alertname": "A"',
    "not UTF-8": b'{"alerts": [{"labels": {"alertname": "\xff\xfe"}}]}',
    "a list": b"[]",
    "a text": b'"alerts"',
    "a number": b"1",
    "null": b"null",
    "two documents": b'{"alerts": []} {"alerts": []}',
    "nested without end": b"[" * 100_000,
    "NaN": b'{"alerts": NaN}',
}
UNPROCESSABLE = {
    "no alerts": (b"{}", "alerts"),
    "alerts of null": (b'{"alerts": null}', "$.alerts"),
    "alerts of the wrong type": (b'{"alerts": {"labels": {}}}', "$.alerts"),
    "a receiver of the wrong type": (b'{"alerts": [], "receiver": 7}', "$.receiver"),
    "group labels of the wrong type": (b'{"alerts": [], "groupLabels": []}', "$.groupLabels"),
    "negative truncatedAlerts": (b'{"alerts": [], "truncatedAlerts": -1}', "$.truncatedAlerts"),
    "nothing but an alert without a name": (b'{"alerts": [{"labels": {}}]}', "$.alerts[0].labels"),
    "nothing but a number as a label": (
        b'{"alerts": [{"labels": {"alertname": "A", "n": 1}}]}',
        '$.alerts[0].labels["n"]',
    ),
    "nothing but an alert that is none": (b'{"alerts": [7]}', "$.alerts[0]"),
}


def refusal(running: Running, content: bytes, expected: int) -> dict[str, Any]:
    answer = ask(running.gateway, content)
    problem: dict[str, Any] = json.loads(answer.content)
    assert answer.status == expected, problem
    assert answer.headers["Content-Type"] == PROBLEM
    assert problem["status"] == expected
    assert problem["requestId"] == answer.headers["X-Request-Id"]
    return problem


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_json_object_gets_400(running: Running, content: bytes) -> None:
    refusal(running, content, 400)


@pytest.mark.parametrize(("content", "place"), UNPROCESSABLE.values(), ids=UNPROCESSABLE)
def test_what_has_the_wrong_shape_gets_422_with_the_place_of_the_fault(
    running: Running, content: bytes, place: str
) -> None:
    assert place in refusal(running, content, 422)["detail"]


def test_an_empty_list_of_alerts_is_taken(running: Running) -> None:
    status, answer = running.post()
    assert (status, answer["alerts"], answer["counts"]) == (202, [], {})


# --- one alert among others

ODD = {
    "without alertname": {"labels": {"namespace": "n"}},
    "with an empty alertname": {"labels": {"alertname": ""}},
    "without labels": {"annotations": {"summary": "?"}},
    "with a label without a name": {"labels": {"alertname": "A", "": "x"}},
    "with a label that is no text": {"labels": {"alertname": "A", "pod": ["p"]}},
    "with an impossible day": alert("A", starts_at="2026-02-30T09:00:00Z"),
    "with a time that is none": alert("A", starts_at="yesterday"),
    "with an impossible end": {**alert("A"), "status": "resolved", "endsAt": "2026-13-01T00:00:00Z"},
    "with an unknown status": {**alert("A"), "status": "smouldering"},
    "that is no object": 7,
    "that is null": None,
    "with labels beyond all bounds": {"labels": {"alertname": "A", "x": "y" * 600_000}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_one_impossible_alert_is_invalid_with_the_reason_and_its_siblings_are_taken(
    running: Running, odd: object
) -> None:
    pod = os.urandom(4).hex()
    before, after = (fires(running.namespace, f"{pod}-{side}") for side in ("before", "after"))

    status, answer = running.post(before, odd, after)
    assert status in (201, 202), answer
    assert answer["alerts"][1]["outcome"] == "invalid"
    assert answer["alerts"][1]["detail"].startswith("$.alerts[1]")
    assert answer["counts"]["invalid"] == 1
    running.settled()
    for verdict in (answer["alerts"][0], answer["alerts"][2]):
        assert running.counted(verdict["fingerprint"]) == 1


# --- what is odd, but possible

POSSIBLE: dict[str, dict[str, str]] = {
    "a value of 64 KiB": {"description": LONG},
    "an alertname of 64 KiB": {"alertname": LONG},
    "a namespace of 64 KiB": {"namespace": LONG},
    "thousands of labels": {f"label_{number}": "x" * 20 for number in range(5000)},
    "NUL": {"alertname": "a\x00b", "pod": "\x00", "nul\x00name": "x"},
    "emoji": {"alertname": "🔥🔥", "pod": "👩‍🚒", "environment": "🏭" * 70, "severity": "💥"},
    "right-to-left text": {"alertname": "تنبيه", "team": "\u202eצוות\u202c", "pod": "مرحبا"},
    "names that are no DNS labels": {"alertname": "_Foo Bar/../baz_", "pod": "A_B.C", "deployment": "-x-"},
    "nothing that a name can hold": {"alertname": "____", "pod": "///"},
    "a namespace that is no name": {"namespace": "No Such_Namespace!"},
    "a namespace that does not exist": {"namespace": "does-not-exist"},
    "no namespace": {"namespace": ""},
    "half of a surrogate pair": {"alertname": "half\ud800", "pod": "\udfff"},
    "control characters, which JSON stores sixfold": {"noise": "\x01<&>" * 20_000},
    "a namespace that climbs": {"namespace": "../../kube-system", "pod": "../.."},
}


@pytest.mark.parametrize("labels", POSSIBLE.values(), ids=POSSIBLE)
def test_whatever_labels_hold_it_becomes_a_valid_object_that_counts_on(
    running: Running, labels: dict[str, str]
) -> None:
    dead = running.dead()
    own = {"alertname": "Odd", "namespace": running.namespace, "run": os.urandom(4).hex()}
    # The fingerprint has to be this test's own whatever names the resource.
    annotations = {"fingerprint": os.urandom(8).hex(), "summary": next(iter(labels.values()))[:1000]}
    odd = {"labels": own | labels, "annotations": annotations}

    answers = [running.post(odd) for _ in range(2)]
    assert [status for status, _ in answers][1] == 202
    verdicts = [answer["alerts"][0] for _, answer in answers]
    assert {verdict["outcome"] for verdict in verdicts} <= {"created", "duplicate", "queued"}
    running.settled()

    assert running.counted(verdicts[0]["fingerprint"]) == 2
    assert running.dead() == dead
    where = verdicts[0]["request"]
    assert where["namespace"] == running.namespace
    stored = next(
        one for one in running.cluster.requests(running.namespace) if one["metadata"]["name"] == where["name"]
    )
    assert stored["spec"]["signalFingerprint"] == verdicts[0]["fingerprint"]


# --- HTTP


def test_a_body_over_the_limit_gets_413_before_it_is_read(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 999999999\r\n\r\n".encode())  # and not a byte of it
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_of_unknown_length_gets_413_as_soon_as_it_passes_the_limit(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(2 * 1024 * 1024 // 0x10000 + 1):
            connection.sendall(chunk)
        answer = connection.recv(4096)  # although the body has not ended
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2", 404),
        ("POST", "/v1/webhooks", 404),
        ("POST", "/v1/webhooks/prometheus/more", 404),
        ("GET", "/v1/alerts/", 404),
        ("GET", "/v1/admin/chaos", 404),
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("DELETE", ALIAS, 405),
        ("POST", "/healthz", 405),
    ],
)
def test_unknown_routes_get_404_and_wrong_methods_405(
    running: Running, method: str, path: str, expected: int
) -> None:
    answer = ask(running.gateway, b"", method=method, path=path)
    assert answer.status == expected
    assert answer.headers["Content-Type"] == PROBLEM
    assert ("Allow" in answer.headers) == (expected == 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "compress"},
    ],
    ids=lambda headers: next(iter(headers.values())),
)
def test_a_body_of_another_kind_gets_415(running: Running, headers: dict[str, str]) -> None:
    assert ask(running.gateway, body(), headers=headers).status == 415


@pytest.mark.parametrize("path", [PATH, PATH + "/", ALIAS, ALIAS + "/", PATH + "?source=am"])
def test_the_route_and_its_alias_work_with_and_without_a_slash(running: Running, path: str) -> None:
    answer = ask(running.gateway, body(fires(running.namespace)), path=path)
    assert answer.status in (201, 202)


@pytest.mark.parametrize(
    "path", ["//", "/v1", "/v1/", "//v1/webhooks/prometheus", "/healthz/", "/v1/../healthz"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_ever_redirected(running: Running, method: str, path: str) -> None:
    assert not 300 <= ask(running.gateway, b"{}", method=method, path=path).status < 400


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"hello\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400(running: Running, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.gateway.port), timeout=10) as connection:
        connection.sendall(noise + b"\r\n\r\n")
        assert connection.recv(4096).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/1.1 404 "))


# --- anything at all

RUN = os.urandom(4).hex()
names = st.text(max_size=12) | st.sampled_from(
    ["pod", "namespace", "severity", "environment", "node", "\x00"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)
times = st.datetimes().map(lambda time: time.isoformat() + "Z")
labels = st.builds(
    # The run's own, so that nobody else's request has the fingerprint.
    lambda name, others: {**others, "alertname": f"{name}{RUN}"},
    st.text(max_size=8),
    st.dictionaries(names, st.text(max_size=12), max_size=4),
)
sound = st.fixed_dictionaries(
    {"labels": labels},
    optional={
        "status": st.sampled_from(["firing", "firing", "resolved"]),
        "annotations": st.dictionaries(names | st.just("fingerprint"), st.text(max_size=12), max_size=3),
        "startsAt": times,
        "endsAt": times,
        "generatorURL": st.text(max_size=12),
    },
)
broken = st.fixed_dictionaries(
    {"labels": labels | values},
    optional=dict.fromkeys(("status", "annotations", "startsAt", "endsAt", "generatorURL"), values),
)
webhooks = st.fixed_dictionaries({"alerts": st.lists(sound | broken | values, max_size=4)}) | (
    st.fixed_dictionaries(
        {"alerts": st.lists(sound, min_size=1, max_size=4) | values},
        optional={"truncatedAlerts": values, "receiver": values, "version": values, "commonLabels": values},
    )
)
bodies = st.one_of(
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    webhooks.map(lambda value: json.dumps(value).encode()),
    webhooks.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.lists(sound, min_size=1, max_size=4).map(lambda found: json.dumps({"alerts": found}).encode()),
)


def test_arbitrary_bodies_never_get_a_5xx_and_what_is_accepted_is_counted_exactly(running: Running) -> None:
    accepted: Counter[str] = Counter()
    dead = running.dead()
    connection = http.client.HTTPConnection("127.0.0.1", running.gateway.port, timeout=20)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies)
    def check(content: bytes) -> None:
        connection.request("POST", PATH, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status in (201, 202, 400, 422), told
        if answer.status < 300:
            assert words(told["alerts"]) == told["counts"]
            for verdict in told["alerts"]:
                if verdict["outcome"] in ("created", "duplicate", "queued"):
                    accepted[verdict["fingerprint"]] += 1

    try:
        check()
    finally:
        connection.close()
    running.settled()

    stored: Counter[str] = Counter()
    for request in running.cluster.requests():
        stored[request["spec"]["signalFingerprint"]] += count_of(request)
    assert len(accepted) > 20
    assert {fingerprint: stored[fingerprint] for fingerprint in accepted} == dict(accepted)
    assert running.dead() == dead


def test_after_all_that_the_gateway_is_well(running: Running) -> None:
    assert running.gateway.alive
    assert running.gateway.ready()
    assert running.gateway.metric("gateway_errors_total", type="internal") == 0
    assert running.gateway.metric("gateway_errors_total", type="reconcile") == 0
    assert running.gateway.metric("gateway_errors_total", type="task") == 0
    assert "Traceback" not in Path(running.gateway.log_path).read_text()
    assert json.loads(running.gateway.post(PATH, webhook())[1])["status"] == "accepted"
