"""The client of Alertmanager's API: what fires, why nobody is told of it, and errors that say what to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.cli.alertmanager import Alertmanager
from gateway.cli.output import CommandError, Exit

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def alert(fingerprint: str, receivers: list[str], **status: Any) -> dict[str, Any]:
    """One entry as Alertmanager 0.31 writes it."""
    return {
        "annotations": {"summary": "down"},
        "endsAt": "2026-11-21T10:21:27.697Z",
        "fingerprint": fingerprint,
        "receivers": [{"name": name} for name in receivers],
        "startsAt": "2026-11-21T10:16:27.697Z",
        "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active", **status},
        "updatedAt": "2026-11-21T10:16:27.697Z",
        "generatorURL": "http://prometheus.example/graph",
        "labels": {"alertname": "Down", "pod": fingerprint},
    }


def group(receiver: str, *alerts: dict[str, Any]) -> dict[str, Any]:
    return {"alerts": list(alerts), "labels": {"alertname": "Down"}, "receiver": {"name": receiver}}


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(answers: dict[str, Any]) -> Handler:
    """Serves these documents by path, and Alertmanager's own 404 for all else."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path in answers:
            return web.json_response(answers[request.path])
        return web.json_response({"code": 404, "message": f"path {request.path} was not found"}, status=404)

    return handler


def always(status: int, body: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type="text/html")

    return handler


async def refusal(url: str, **options: Any) -> CommandError:
    """The error of a look that must fail."""
    with pytest.raises(CommandError) as caught:
        await Alertmanager(url, **options).firing()
    return caught.value


async def test_what_fires_comes_with_its_receivers_and_whatever_keeps_it_quiet() -> None:
    plain, silenced = alert("a1", ["gateway", "pager"]), alert("a2", ["gateway"], silencedBy=["s"])
    inhibited = alert("a3", ["gateway"], inhibitedBy=["a1"], silencedBy=["s"], state="suppressed")
    fresh = alert("a4", ["gateway"], state="unprocessed")
    answers = {"/api/v2/alerts": [plain, silenced, inhibited, fresh], "/api/v2/alerts/groups": []}
    async with serving(answering(answers)) as url:
        found = await Alertmanager(url).firing()

    assert [one.labels["pod"] for one in found] == ["a1", "a2", "a3", "a4"]
    assert found[0].receivers == ("gateway", "pager")
    assert found[0].annotations == {"summary": "down"}
    assert found[0].starts_at == "2026-11-21T10:16:27.697Z"
    assert [one.suppressed for one in found] == [(), ("silenced",), ("silenced", "inhibited"), ()]
    assert [one.unprocessed for one in found] == [False, False, False, True]


@pytest.mark.parametrize(("receivers", "muted"), [((), False), (("gateway",), True), (("pager",), False)])
async def test_an_alert_is_muted_where_every_group_that_counts_is(
    receivers: tuple[str, ...], muted: bool
) -> None:
    quiet = alert("a1", ["gateway", "pager"], mutedBy=["night"], state="suppressed")
    answers = {
        "/api/v2/receivers": [{"name": "gateway"}, {"name": "pager"}],
        "/api/v2/alerts": [alert("a1", ["gateway", "pager"])],
        "/api/v2/alerts/groups": [group("gateway", quiet), group("pager", alert("a1", ["gateway", "pager"]))],
    }
    async with serving(answering(answers)) as url:
        found = await Alertmanager(url).firing(receivers)

    assert found[0].suppressed == (("muted",) if muted else ())


async def test_a_receiver_that_does_not_exist_there_is_a_usage_error_with_those_that_do() -> None:
    answers = {"/api/v2/receivers": [{"name": "pager"}, {"name": "gateway"}]}
    async with serving(answering(answers)) as url:
        with pytest.raises(CommandError) as caught:
            await Alertmanager(url).firing(["gatewya"])

    assert caught.value.exit_code is Exit.USAGE
    assert "gatewya" in caught.value.what
    assert "gateway, pager" in caught.value.hint


async def test_a_route_prefix_stays_before_the_path() -> None:
    answers = {"/am/api/v2/alerts": [], "/am/api/v2/alerts/groups": []}
    async with serving(answering(answers)) as url:
        assert await Alertmanager(f"{url}/am").firing() == []
        reason = await refusal(url)

    assert reason.exit_code is Exit.UNREACHABLE
    assert "404" in reason.what
    assert "--web.route-prefix" in reason.hint


async def test_credentials_are_sent_and_a_password_is_never_shown() -> None:
    seen: list[str] = []

    async def guarded(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=401)

    async with serving(guarded) as url:
        bearer = await refusal(url, token="t0ken")
        basic = await refusal(url.replace("//", "//ops:s3cret@"), token="t0ken")

    assert seen == ["Bearer t0ken", "Basic b3BzOnMzY3JldA=="]
    for reason in (bearer, basic):
        assert reason.exit_code is Exit.UNREACHABLE
        assert "--alertmanager-token" in reason.hint
        assert "s3cret" not in reason.what + reason.hint
        assert "t0ken" not in reason.what + reason.hint


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>Please log in</html>", "does not answer as an Alertmanager does"),
        (200, '{"status": "success"}', "does not answer as an Alertmanager does"),
        (200, '[{"labels": {"alertname": 1}}]', "does not answer as an Alertmanager does"),
        (200, "[" * 100_000, "does not answer as an Alertmanager does"),
        (500, "boom \x1b[31m" + "x" * 1000, "answers 500: boom \\x1b[31mxxx"),
        (503, "", "answers 503"),
    ],
)
async def test_whatever_is_no_answer_of_an_alertmanager_is_told_in_short(
    status: int, body: str, words: str
) -> None:
    async with serving(always(status, body)) as url:
        reason = await refusal(url)

    assert reason.exit_code is Exit.UNREACHABLE
    assert words in reason.what
    assert url in reason.what
    assert len(reason.what) < 400


async def test_nobody_there_and_one_that_speaks_no_http_are_told_apart_from_an_empty_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        refused = await refusal(f"http://127.0.0.1:{taken.getsockname()[1]}")

    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        strange = await refusal(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    for reason in (refused, strange):
        assert reason.exit_code is Exit.UNREACHABLE
        assert "cannot be asked" in reason.what
        assert "Check the URL" in reason.hint
