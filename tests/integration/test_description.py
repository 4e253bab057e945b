"""The description and the gateway agree: every answer is one of those that it names, and its page works by itself."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.described import Described
from tests.integration.sight import PATIENT, fires, send_one
from tests.integration.windows import STEADY, pods, quick
from tests.rig.fixtures import StartGateway, StartRedis

WEBHOOK = "/v1/webhooks/prometheus"
ALERTS = "/v1/alerts/{fingerprint}"
JSON = {"Content-Type": "application/json"}


class Live:
    """A gateway whose every answer is held against its own description."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.description = Described(gateway.get("/openapi.json")[1])
        self.seen: set[tuple[str, int]] = set()

    def ask(
        self,
        method: str,
        target: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        path: str = "",
        url: str = "",
    ) -> Any:
        """`path` is the one that is described, where the target is another; returns what the answer holds."""
        where = urlsplit(url or self.gateway.url)
        with closing(http.client.HTTPConnection(str(where.hostname), where.port, timeout=20)) as connection:
            connection.request(method, target, content, headers or {})
            answer = connection.getresponse()
            body = answer.read()
        media = answer.getheader("Content-Type", "")
        self.description.check(method, path or target, answer.status, media, body)
        self.seen.add((path or target, answer.status))
        return json.loads(body) if media.partition(";")[0].endswith("json") else body


@pytest.fixture
def live(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> Live:
    settings = {
        **PATIENT,
        **STEADY,
        "kubernetes": {"fallback_namespace": namespace},
        "journal": {"path": str(tmp_path / "journal")},
        "record": {"path": str(tmp_path / "webhooks.jsonl")},
        "policy": {"rules": [{"matchers": ['team="nobody"'], "action": "deny", "reason": "nobodys"}]},
    }
    return Live(start_gateway(redis=redis_server, cluster=cluster, settings=settings))


def test_every_example_of_a_body_is_answered_as_it_says(live: Live) -> None:
    examples = list(live.description.requests())
    paths = list(dict.fromkeys(example.path for example in examples))
    assert len(paths) == 4
    for example in examples:
        # What is new in the example is new to the gateway, too: under each of its names another problem.
        name = b'"alertname": "%d' % paths.index(example.path)
        live.seen.clear()
        answer = live.ask(
            example.method, example.path, example.content.replace(b'"alertname": "', name), JSON
        )
        assert live.seen == {(example.path, example.answer)}, (example.name, answer)


def test_what_is_answered_is_what_is_described(live: Live, namespace: str) -> None:
    verdict = send_one(live.gateway, fires(namespace))
    known, nobodys = verdict["fingerprint"], "f" * 64
    for path in (
        "/v1/status",
        "/v1/storms",
        "/v1/overview",
        "/",
        "/healthz",
        "/health",
        "/readyz",
        "/ready",
        "/openapi.json",
        "/docs",
    ):
        live.ask("GET", path)
    assert live.ask("GET", f"/v1/alerts/{known}", path=ALERTS)["requests"][0]["open"] is True
    live.ask("GET", f"/v1/alerts/{nobodys}", path=ALERTS)
    live.ask("GET", "/v1/alerts/garbage", path=ALERTS)
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png", "../secrets"):
        live.ask("GET", f"/docs/{name.replace('/', '%2F')}", path="/docs/{asset}")
    for name in ("page.css", "page.js", "icon.svg", "index.html"):
        live.ask("GET", f"/page/{name}", path="/page/{asset}")
    live.ask("GET", "/metrics", url=live.gateway.metrics_url)
    modern = {"Accept": "application/openmetrics-text; version=1.0.0"}
    live.ask("GET", "/metrics", None, modern, url=live.gateway.metrics_url)

    denied = json.dumps({"alerts": [{"labels": {"alertname": "A", "team": "nobody"}}]}).encode()
    assert live.ask("POST", WEBHOOK, denied, JSON)["counts"] == {"denied": 1}
    live.ask("POST", WEBHOOK, b"{}", {"Content-Type": "text/plain"})
    live.ask("POST", WEBHOOK, b"{}", {**JSON, "Expect": "the impossible"})
    live.ask("POST", WEBHOOK, b"{}", {**JSON, "Content-Encoding": "br"})
    live.ask("GET", "/v1/status", b"{}", {**JSON, "Content-Encoding": "br"})
    live.ask("POST", WEBHOOK, b"\xff", JSON)
    live.ask("POST", WEBHOOK, b"", {"Content-Length": str(2**40)})
    assert {(ALERTS, status) for status in (200, 400, 404)} <= live.seen
    assert {(WEBHOOK, status) for status in (400, 403, 413, 415, 417)} <= live.seen


async def test_with_windows_and_without_redis_too(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    live = Live(start_gateway(redis=redis, cluster=cluster, settings=quick(hold="60s", inactivity="60s")))
    held = json.dumps({"alerts": pods(namespace, 1, 2, 3, 4)}).encode()
    verdicts = live.ask("POST", WEBHOOK, held, JSON)["alerts"]
    assert {verdict["outcome"] for verdict in verdicts} == {"buffered"}
    assert live.ask("GET", "/v1/storms")["windows"][0]["state"] == "storming"
    fingerprint = verdicts[0]["fingerprint"]
    assert live.ask("GET", f"/v1/alerts/{fingerprint}", path=ALERTS)["redis"]["window"]["members"] == 4

    redis.kill()
    assert live.ask("GET", f"/v1/alerts/{fingerprint}", path=ALERTS)["redis"]["state"] == "unknown"
    assert live.ask("GET", "/v1/overview")["windows"] is None
    live.ask("GET", f"/v1/alerts/{'f' * 64}", path=ALERTS)
    live.ask("GET", "/v1/storms")
    assert {(ALERTS, 503), ("/v1/storms", 503)} <= live.seen
    await eventually(lambda: live.ask("GET", "/v1/status")["mode"] == "direct", "the fallback", seconds=15)
    assert live.ask("GET", "/readyz")["status"] == "degraded"


@pytest.fixture
def guarded(start_gateway: StartGateway, tmp_path: Path) -> Live:
    """A gateway with neither Redis nor Kubernetes, and with two kinds of senders."""
    tokens, users = tmp_path / "tokens", tmp_path / "users"
    tokens.write_text("alertmanager:" + "s" * 32 + "\n")
    users.write_text("someone:$2y$05$" + "a" * 53 + "\n")
    for file in (tokens, users):
        file.chmod(0o600)
    auth = {"mode": ["bearer", "basic"], "tokens_file": str(tokens), "users_file": str(users)}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(_NOWHERE)
    gateway = start_gateway(
        redis="redis://127.0.0.1:1/0", cluster=kubeconfig, settings={"auth": auth}, wait="alive"
    )
    return Live(gateway)


_NOWHERE = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
"""


def test_refusals_are_described_too(guarded: Live) -> None:
    for path in ("/v1/status", "/v1/storms", "/v1/overview"):
        guarded.ask("GET", path)
        guarded.ask("GET", path, None, {"Authorization": "Bearer wrong"})
    guarded.ask("GET", "/v1/alerts/garbage", path=ALERTS)
    guarded.ask("POST", WEBHOOK, b"{}", JSON)
    assert {status for _, status in guarded.seen} == {401}
    known = {**JSON, "Authorization": "Bearer " + "s" * 32}
    guarded.ask("GET", "/readyz")
    assert guarded.ask("GET", "/v1/status", None, known)["ready"] is False
    guarded.ask("POST", WEBHOOK, json.dumps({"alerts": [fires("prod")]}).encode(), known)
    guarded.ask("GET", f"/v1/alerts/{'f' * 64}", None, known, path=ALERTS)
    assert {("/readyz", 503), (WEBHOOK, 503), (ALERTS, 503)} <= guarded.seen


async def test_the_page_shows_every_operation_with_what_the_gateway_serves_alone(
    guarded: Live, chromium: Path
) -> None:
    origin = guarded.gateway.url
    trouble: list[str] = []
    foreign: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = await browser.new_page(viewport={"width": 1280, "height": 1400})
            page.on(
                "console",
                lambda message: (
                    trouble.append(message.text) if message.type in ("error", "warning") else None
                ),
            )
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on(
                "request",
                lambda request: (
                    None if request.url.startswith((origin, "data:")) else foreign.append(request.url)
                ),
            )
            await page.goto(f"{origin}/docs/")
            await page.wait_for_selector(".opblock", timeout=30_000)
            shown = {
                (await block.locator(".opblock-summary-path").get_attribute("data-path"))
                for block in await page.locator(".opblock").all()
            }
            assert shown == {path for path, _, _ in guarded.description.operations()}
            await page.locator("#operations-alerts-postAlerts .opblock-summary-control").click()
            await page.wait_for_selector(".opblock.is-open .responses-table", timeout=10_000)
            codes = await page.locator(".opblock.is-open .response-col_status").all_inner_texts()
            assert {"201", "202", "401", "422", "503"} <= {code.strip() for code in codes}
            assert "OAS 3.1" in await page.inner_text("#api")
            # It can be used, too: a request from the page, and the place for a credential.
            alive = page.locator("#operations-health-getHealth")
            await alive.locator(".opblock-summary-control").click()
            await alive.locator("button.try-out__btn").click()
            await alive.locator("button.execute").click()
            await alive.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
            await page.locator("button.authorize").first.click()
            await page.wait_for_selector("text=A token of the gateway's own file.")
            await page.wait_for_load_state("networkidle")
        finally:
            await browser.close()
    assert (trouble, foreign) == ([], [])
