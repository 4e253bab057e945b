from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import CLOSING, App
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError
from gateway.kube.connection import Connection
from gateway.state.client import Client

# Port 9 (discard) of loopback: refused at once.
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
users: [{name: none, user: {}}]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A gateway to which neither Redis nor Kubernetes answers."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    return Settings.model_validate(
        {
            "server": {"port": 0, "metrics_port": 0, "shutdown_timeout": "4s", "request_timeout": "3s"},
            "redis": {"url": "redis://127.0.0.1:9/0"},
            "kubernetes": {"kubeconfig": str(kubeconfig)},
        }
    )


async def test_it_starts_and_answers_without_redis_and_kubernetes_and_stops_in_time(
    settings: Settings,
) -> None:
    app = App(settings)
    await app.start()
    try:
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{app.url}/healthz") as alive:
                assert alive.status == 200
            async with client.get(f"{app.url}/readyz") as ready:
                assert ready.status == 503
            webhook = {"alerts": [{"labels": {"alertname": "A", "namespace": "n"}}]}
            async with client.post(f"{app.url}/v1/webhooks/prometheus", json=webhook) as refused:
                assert refused.status == 503
                assert int(refused.headers["Retry-After"]) >= 1
            async with client.get(f"{app.metrics_url}/metrics") as metrics:
                assert "gateway_build_info{" in await metrics.text()
            async with client.get(f"{app.url}/v1/status") as status:
                assert (await status.json())["tasks"]["loop-lag"]["running"] is True
    finally:
        began = time.monotonic()
        await app.stop()
    assert time.monotonic() - began < settings.server.shutdown_timeout + 1
    await app.stop()


async def test_what_cannot_be_closed_takes_no_more_time_than_there_is_for_all_of_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_before(close: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def hang(self: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await close(self)

        return hang

    for part in (Client, Connection):
        monkeypatch.setattr(part, "close", hang_before(part.close))
    server = settings.server.model_copy(update={"shutdown_timeout": 0.5})
    app = App(settings.model_copy(update={"server": server}))
    await app.start()
    began = time.monotonic()
    await app.stop()
    assert time.monotonic() - began < 2 * CLOSING  # which is what the two would take


async def test_a_start_that_fails_leaves_nothing_behind(settings: Settings) -> None:
    first = App(settings)
    await first.start()
    port = int(first.url.rpartition(":")[2])
    taken = settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
    with pytest.raises(OSError, match="address already in use"):
        await App(taken).start()
    await first.stop()


async def test_settings_that_cannot_be_used_stop_the_start(settings: Settings, tmp_path: Path) -> None:
    missing = settings.auth.model_copy(update={"mode": ("bearer",), "tokens_file": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match="tokens_file"):
        await App(settings.model_copy(update={"auth": missing})).start()
