"""The status page in a real browser, beside a gateway on real components: what it shows, to whom, and how it is used.

Whatever a test does, the browser asks nobody but the gateway, and its console stays silent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from tests.integration.sight import fires, send
from tests.integration.windows import STEADY, pods, quick
from tests.rig.fixtures import StartGateway, StartRedis

CHAOS = "/v1/admin/chaos"
TOKEN = "s" * 32
PASSWORD = "päss:word"
SECONDS = 30_000
"""Milliseconds for whatever the page has to show."""
expect.set_options(timeout=SECONDS)

Look = Callable[..., Any]


def alone(namespace: str, settings: dict[str, Any]) -> dict[str, Any]:
    """These settings for a gateway that sees nothing of what other tests do to the cluster."""
    return {**settings, "kubernetes": {"namespaces": [namespace], "fallback_namespace": namespace}}


@pytest.fixture
async def look(chromium: Path, start_gateway: StartGateway) -> AsyncIterator[Look]:
    """Open the page of a gateway; at the end no page has complained, and none has asked anybody else.

    It is over before the gateways are: a page complains of one that is gone.
    """
    trouble: list[str] = []
    async with AsyncExitStack() as exits:
        playwright = await exits.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        exits.push_async_callback(browser.close)
        yield lambda gateway, **options: _open(browser, gateway, trouble, **options)
    assert trouble == []


async def _open(
    browser: Browser, gateway: GatewayProcess, trouble: list[str], *, expected: str = "\0", **options: Any
) -> Page:
    """`expected`: what the console may say, since the test brings it about."""
    viewport = {"width": 1280, "height": 900}
    context = await browser.new_context(**{"viewport": viewport, **options})
    page = await context.new_page()
    page.set_default_timeout(SECONDS)
    page.on("console", lambda said: trouble.append(said.text) if expected not in said.text else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(gateway.url) else trouble.append(request.url),
    )
    await page.goto(f"{gateway.url}/")
    return page


async def shows(page: Page, selector: str, text: str) -> None:
    await expect(page.locator(selector)).to_contain_text(text, timeout=SECONDS)


@asynccontextmanager
async def firing(gateway: GatewayProcess, *alerts: dict[str, object]) -> AsyncIterator[None]:
    """Send the alerts again and again, meanwhile."""
    over = asyncio.Event()

    async def fire() -> None:
        while not over.is_set():
            await asyncio.to_thread(send, gateway, *alerts)
            await asyncio.sleep(0.1)

    task = asyncio.ensure_future(fire())
    try:
        yield
    finally:
        over.set()
        await task


async def test_a_storm_is_seen_as_it_grows_ends_and_becomes_a_request(
    look: Look, start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(
        redis=redis_server, cluster=cluster, settings=alone(namespace, quick(hold="30s", inactivity="12s"))
    )
    page = await look(gateway)
    await shows(page, "#link", "live")
    await shows(page, "#windows-none", "No alert is held back")
    await shows(page, "#recent-none", "There is no request yet.")

    await asyncio.to_thread(send, gateway, *pods(namespace, 1, 2))
    row = page.locator("#windows tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text(f"{namespace}/PodOOMKilled")
    await expect(row.locator(".state")).to_have_text("holding")
    await expect(row.locator(".members")).to_have_text("2 of 3")
    await asyncio.to_thread(send, gateway, *pods(namespace, *range(3, 31)))
    await expect(row.locator(".state")).to_have_text("storm")
    await expect(row.locator(".members")).to_have_text("30")
    await shows(page, "#tile-received .now", "30")
    await shows(page, "#announcer", f"1 storm now: {namespace}/PodOOMKilled")

    async def left() -> float:
        return float((await row.locator(".countdown").inner_text()).removesuffix(" s"))

    first = await left()
    assert 0 < first <= 13
    await page.wait_for_function(
        "first => parseFloat(document.querySelector('.countdown').textContent) <= first - 2", arg=first
    )
    await expect(row).to_have_count(0, timeout=SECONDS)
    await shows(page, "#windows-none", "No alert is held back")

    request = page.locator("#recent tbody tr")
    await expect(request).to_have_count(1)
    cells = request.locator("td")
    assert [await cells.nth(place).inner_text() for place in (2, 3)] == ["30", "30"]
    await shows(page, "#tile-created .now", "1")
    await shows(page, "#tile-deduplicated .now", "29")
    await asyncio.to_thread(send, gateway, *pods(namespace, 5))
    await expect(cells.nth(3)).to_have_text("31")


async def test_a_request_can_be_looked_into_and_its_command_copied_by_keyboard_alone(
    look: Look, start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=alone(namespace, STEADY))
    _, (verdict,) = await asyncio.to_thread(send, gateway, fires(namespace))
    page = await look(gateway, permissions=["clipboard-read", "clipboard-write"])
    request = page.locator("#recent tbody tr")
    await expect(request).to_have_count(1)
    await expect(request).to_contain_text("PodOOMKilled")
    await page.evaluate("document.activeElement.blur()")

    where: list[str] = []
    for _ in range(9):
        await page.keyboard.press("Tab")
        where.append(
            await page.evaluate(
                "(e => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim())"
                "(document.activeElement)"
            )
        )
    name = verdict["request"]["name"]
    assert where[:4] == [
        "Skip to the state",
        "recent-title",
        f"{namespace} / {name}",
        f"Copy the kubectl command for {name}",
    ]
    assert where[4:7] == ["API", "Readiness", "Status as JSON"]

    button = page.get_by_role("button", name=f"Copy the kubectl command for {name}")
    await button.focus()
    await page.keyboard.press("Enter")
    await shows(page, "#announcer", "The command is copied.")
    command = f"kubectl get remediationrequest -n {namespace} {name} -o yaml"
    assert await page.evaluate("navigator.clipboard.readText()") == command
    assert await button.evaluate("e => e === document.activeElement")
    told = await asyncio.to_thread(cluster.kubectl, *command.split()[1:])
    assert f"name: {name}" in told

    link = request.locator("a")
    assert await link.get_attribute("href") == f"/v1/alerts/{verdict['fingerprint']}"
    await link.focus()
    async with firing(gateway, fires(namespace)):  # the row is shown anew meanwhile, and keeps the focus
        await expect(request.locator("td").nth(3)).not_to_have_text("1")
    assert await link.evaluate("e => e === document.activeElement")
    await page.keyboard.press("Enter")
    await shows(page, "#details-text", verdict["fingerprint"])
    assert json.loads(await page.inner_text("#details-text"))["requests"][0]["name"] == name
    assert await page.inner_text("#details-command") == command
    await page.keyboard.press("Escape")
    await expect(page.locator("#details")).to_be_hidden()
    assert await link.evaluate("e => e === document.activeElement")


async def test_trouble_is_seen_while_it_lasts_faults_on_purpose_redis_gone_and_the_gateway_itself(
    look: Look, start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(
        redis=redis, cluster=cluster, settings=alone(namespace, {**STEADY, "chaos": {"enabled": True}})
    )
    page = await look(gateway, expected="net::ERR_")
    await shows(page, "#mode", "normal")
    await expect(page.locator("#breakers .state")).to_have_text(["in use", "in use"])
    await shows(page, "#faults-none", "None acts now.")
    await shows(page, "#warnings", "chaos.enabled: faults can be injected here")

    wish = {"target": "kubernetes", "mode": "jitter", "pct": 40, "delay": "20ms", "ttl": "60s"}
    assert (await asyncio.to_thread(gateway.post, CHAOS, wish))[0] == 201
    await shows(page, "#faults", "jitter, 40 %")
    await shows(page, "#warnings", "a fault is injected: kubernetes jitter")
    await shows(page, "#announcer", "Faults are injected: Kubernetes, jitter, 40 %")
    await asyncio.to_thread(gateway.call, "DELETE", f"{CHAOS}/kubernetes")
    await expect(page.locator("#faults li")).to_have_count(0)

    redis.kill()
    async with firing(gateway, fires(namespace)):
        await shows(page, "#mode", "without Redis")
        broken = page.locator("#breakers li", has_text="Redis").locator(".state")
        await expect(broken).to_have_text("left alone", timeout=SECONDS)
        await shows(page, "#breakers", "its breaker is open")
        await shows(page, "#windows-none", "Redis does not tell")
        await expect(page.locator("#recent tbody tr")).to_have_count(1)
    await asyncio.to_thread(redis.start)
    await shows(page, "#mode", "normal")
    await expect(broken).to_have_text("in use")

    assert await asyncio.to_thread(gateway.terminate) == 0  # who looks does not keep it
    await shows(page, "#link", "not live")
    await expect(page.locator("#state")).to_have_attribute("data-stale", "true")
    await gateway.start_async()
    await expect(page.locator("#link")).to_have_text("live", timeout=SECONDS)
    await expect(page.locator("#state")).to_have_attribute("data-stale", "false")


async def test_with_authentication_the_page_is_empty_until_somebody_says_who_they_are(
    look: Look,
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    tokens, users = tmp_path / "tokens", tmp_path / "users"
    tokens.write_text(f"alertmanager:{TOKEN}\n")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
    users.write_text(f"someone:{hashed}\n")
    for file in (tokens, users):
        file.chmod(0o600)
    auth = {"mode": ["bearer", "basic"], "tokens_file": str(tokens), "users_file": str(users)}
    gateway = start_gateway(
        redis=redis_server, cluster=cluster, settings=alone(namespace, {**STEADY, "auth": auth})
    )
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    body = json.dumps({"alerts": [fires(namespace)]}).encode()
    assert (await asyncio.to_thread(gateway.call, "POST", "/v1/webhooks/prometheus", body, headers))[0] < 300

    page = await look(gateway, expected="401")
    await shows(page, "#access", "The gateway shows alerts to those it knows.")
    assert namespace not in await page.content()
    token = page.get_by_label("Token")
    await expect(token).to_be_focused()
    await token.fill("wrong")
    await page.keyboard.press("Enter")
    await shows(page, "#access-why", "The gateway does not take that.")
    await token.fill(TOKEN)
    await page.keyboard.press("Enter")
    await shows(page, "#recent", namespace)
    await expect(page.locator("#access")).to_be_hidden()
    await page.locator("#recent a").click()
    await shows(page, "#details-text", '"occurrenceCount": 1')
    await page.keyboard.press("Escape")

    # The tab keeps it, no other does; a token that is taken back shows nothing more.
    await page.reload()
    await shows(page, "#recent", namespace)
    assert await page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    tokens.write_text("another:" + "t" * 32 + "\n")
    await expect(page.locator("#access")).to_be_visible(timeout=SECONDS)
    await expect(page.locator("#state")).to_be_hidden()

    await page.get_by_label("User").fill("someone")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await shows(page, "#recent", namespace)
    await page.get_by_role("button", name="Forget my credential").click()
    await expect(page.locator("#access")).to_be_visible()


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 380)], ids=["light", "dark", "narrow"]
)
async def test_it_is_accessible_and_fits_in_light_and_dark(
    look: Look,
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    scheme: str,
    width: int,
) -> None:
    settings = {**quick(hold="60s", inactivity="60s"), "chaos": {"enabled": True}}
    settings["storm"]["rules"] = [{"matchers": ['alertname="DiskFull"'], "mode": "immediate"}]
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=alone(namespace, settings))
    full = {"status": "firing", "labels": {"alertname": "DiskFull", "namespace": namespace}}
    await asyncio.to_thread(send, gateway, *pods(namespace, *range(12)), full)
    wish = {"target": "redis", "mode": "jitter", "pct": 10, "delay": "1ms", "ttl": "60s"}
    assert (await asyncio.to_thread(gateway.post, CHAOS, wish))[0] == 201
    # What looks for faults is a script of its own, which the page's policy would not let in.
    page = await look(gateway, color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    for place in ("#windows tbody tr", "#recent tbody tr", "#faults li"):
        await expect(page.locator(place)).to_have_count(1)
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 245, 247)", "dark": "rgb(15, 19, 25)"}[scheme]
    for role in ("banner", "main", "contentinfo", "navigation"):
        await expect(page.get_by_role(role)).to_have_count(1)
    assert await page.locator("#announcer").get_attribute("role") == "status"
    await page.locator("#recent a").click()
    await shows(page, "#details-text", "fingerprint")
    assert (found := await Axe().run(page)).violations_count == 0, found.generate_report()
