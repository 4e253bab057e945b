"""A webhook's trace goes on to the write in Kubernetes; a collector that is not there changes nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.collector import Collector
from tests.integration.commands import ROOT
from tests.integration.sight import PATIENT, adds_up, count_of, fires, settled
from tests.rig.fixtures import StartGateway

PATH = "/v1/webhooks/prometheus"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.stop()


def tracing(url: str, **more: object) -> dict[str, object]:
    """The settings; Redis has the time that a busy machine needs."""
    return {"tracing": {"endpoint": url, **more}, "redis": {"timeout": "1s"}, **PATIENT}


def post(gateway: GatewayProcess, *alerts: object, traceparent: str = "") -> int:
    headers = {"traceparent": traceparent} if traceparent else {}
    return gateway.post(PATH, {"alerts": list(alerts)}, headers=headers)[0]


def open_metrics(gateway: GatewayProcess) -> list[str]:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    scrape = urllib.request.Request(f"{gateway.metrics_url}/metrics", headers=accept)
    with urllib.request.urlopen(scrape, timeout=5) as answer:
        text: str = answer.read().decode()
    return text.splitlines()


async def test_the_trace_of_a_webhook_reaches_the_write_in_kubernetes(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, collector: Collector
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=tracing(collector.url))
    sender = f"00-{TRACE}-{PARENT}-01"
    assert post(gateway, fires(namespace, "pod-1"), traceparent=sender) == 201
    await eventually(lambda: len(collector.spans(trace=TRACE)) == 5, "all spans", seconds=40)
    spans = {span.name: span for span in collector.spans(trace=TRACE)}
    served, admission = spans[f"POST {PATH}"], spans["admission"]
    call, write, create = spans["redis admit"], spans["write request"], spans["kubernetes create"]
    assert served.parent == PARENT
    assert admission.parent == call.parent == served.id or call.parent == admission.id
    assert write.parent in (served.id, admission.id)
    assert create.parent == write.id
    assert [span.kind for span in (served, admission, call, write, create)] == [2, 1, 3, 1, 3]
    assert (
        served.attributes["http.response.status_code"]
        == create.attributes["http.response.status_code"]
        == 201
    )
    assert served.began <= call.began <= call.ended <= served.ended
    slack = 2_000_000  # nanoseconds: how long a call took is known to a millisecond
    assert write.began - slack <= create.began <= create.ended <= write.ended
    assert {span.service for span in spans.values()} == {"alert-gateway"}
    assert not any(span.failed for span in spans.values())

    lines = open_metrics(gateway)
    for name in ("gateway_request_duration_seconds", "gateway_admission_duration_seconds"):
        assert any(line.startswith(f"{name}_bucket") and f'trace_id="{TRACE}"' in line for line in lines), (
            name
        )


async def test_calls_and_writes_for_many_webhooks_have_links_to_all_of_them(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, collector: Collector
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=tracing(collector.url))
    assert post(gateway, fires(namespace, "pod-1")) == 201
    sent = 1

    def storm(_: int) -> int:
        return post(gateway, fires(namespace, "pod-1"))

    def shared() -> bool:
        nonlocal sent
        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(storm, range(64))) <= {201, 202}
        sent += 64
        time.sleep(1.5)  # a second is the longest that spans wait, and write_interval
        return any(span.links for span in collector.spans("redis admit")) and any(
            len(span.links) > 1 for span in collector.spans("write request")
        )

    await eventually(shared, "one call for several webhooks", seconds=40)
    await adds_up(cluster, namespace, [sent])

    def astray() -> set[tuple[str, str]]:
        """What calls and writes lead to that is no webhook."""
        webhooks = {(span.trace, span.parent) for span in collector.spans("admission")}
        admissions = {(span.trace, span.id) for span in collector.spans("admission")}
        shared = collector.spans("redis admit") + collector.spans("write request")
        led = {link for span in shared for link in ((span.trace, span.parent), *span.links)}
        return led - webhooks - admissions

    # A call ends before its webhook does, and may be told a batch earlier.
    await eventually(lambda: not astray(), "all links to lead to webhooks")
    for span in collector.spans("redis admit") + collector.spans("write request"):
        assert len(set(span.links)) == len(span.links)


async def test_what_the_sender_leaves_out_and_what_is_not_sampled_is_not_traced(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, collector: Collector
) -> None:
    settings = tracing(collector.url, sample=1e-9)
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    assert post(gateway, fires(namespace, "a"), traceparent=f"00-{TRACE}-{PARENT}-00") == 201
    assert post(gateway, fires(namespace, "b")) == 201
    assert post(gateway, fires(namespace, "c"), traceparent="00-garbage") == 201
    assert post(gateway, fires(namespace, "d"), traceparent=f"00-{TRACE}-{PARENT}-01") == 201
    await eventually(lambda: len(collector.spans()) == 5, "the spans of the last one", seconds=40)
    await settled(gateway)
    assert {span.trace for span in collector.spans()} == {TRACE}
    # They are counted once the collector's answer is there.
    await eventually(lambda: gateway.metric("gateway_spans_total") == 5, "five spans to be counted")


async def test_a_storm_is_written_once_for_the_traces_of_all_its_webhooks(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, collector: Collector
) -> None:
    settings = tracing(collector.url) | {"storm": {"hold": "4s", "inactivity": "4s", "max_window": "20s"}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    for number in range(4):
        assert post(gateway, fires(namespace, f"pod-{number}")) == 202
    await eventually(lambda: len(collector.spans("write storm")) == 1, "the storm", seconds=20)
    (written,) = collector.spans("write storm")
    traces = {span.trace for span in collector.spans(f"POST {PATH}")}
    assert {written.trace, *(trace for trace, _ in written.links)} == traces
    assert len(traces) == 4


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_a_collector_that_is_dead_costs_no_alert_and_no_time(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, how: str
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if how == "hangs":
            listener.listen(100)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        gateway = start_gateway(redis=redis_server, cluster=cluster, settings=tracing(url))
        began = time.monotonic()
        for _ in range(100):
            assert post(gateway, fires(namespace, "pod-1")) in (201, 202)
        assert time.monotonic() - began < 15
        await settled(gateway)
        assert sum(count_of(one) for one in cluster.requests(namespace)) == 100
        await eventually(
            lambda: gateway.metric("gateway_spans_total", result="failed") > 0, "a batch to fail", seconds=20
        )
        assert gateway.get("/readyz")[0] == 200
        began = time.monotonic()
        gateway.terminate()
        assert time.monotonic() - began < 10
    assert gateway.log().count("traces cannot be delivered") == 1


SCRIPT = """
import asyncio, json, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ImportError(f"No module named {name!r}")

installed, kubeconfig, endpoint = sys.argv[1:]
if installed == "missing":
    sys.meta_path.insert(0, Missing())

from gateway.app import App
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError

async def main():
    settings = {
        "server": {"port": 0, "metrics_port": 0},
        "kubernetes": {"kubeconfig": kubeconfig},
        "redis": {"url": "redis://127.0.0.1:1/0"},
        "tracing": {"endpoint": endpoint or None},
    }
    app = App(Settings.model_validate(settings))
    await app.start()
    await app.stop()

try:
    asyncio.run(main())
except ConfigurationError as error:
    print(json.dumps({"faults": error.faults}))
else:
    print(json.dumps({"modules": list(sys.modules)}))
"""


def imported(cluster: Api, installed: str, endpoint: str = "") -> dict[str, list[str]]:
    """What a gateway has imported once it has started and stopped, or why it did not start."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, installed, str(cluster.kubeconfig), endpoint],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_where_nobody_wants_traces_nothing_is_imported_for_them(cluster: Api) -> None:
    """The redis library imports OpenTelemetry's metrics by itself where they are installed; nothing else does."""
    modules = imported(cluster, "there")["modules"]
    spans = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "requests")
    assert [name for name in modules if name.startswith((*spans, "gateway.telemetry.otlp"))] == []
    modules = imported(cluster, "missing")["modules"]
    assert [name for name in modules if name.startswith("opentelemetry")] == []


def test_who_wants_traces_without_what_they_need_is_told_so_at_the_start(cluster: Api) -> None:
    (fault,) = imported(cluster, "missing", "http://127.0.0.1:4318")["faults"]
    assert fault.startswith("tracing.endpoint: ")
    assert "alert-gateway[tracing]" in fault
    assert "gateway.telemetry.otlp" in imported(cluster, "there", "http://127.0.0.1:1")["modules"]
