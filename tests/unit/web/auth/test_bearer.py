from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.web.auth.bearer import TokensFile, read_tokens
from tests.unit.web.harness import Reply, Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"
BODY = {"alerts": [{"labels": {"alertname": "A"}}]}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("# senders\n\nalertmanager: s3cret-one\nprober:s3cret:two\n")
    return path


@pytest.fixture
async def guarded(serve: Serve, tokens: Path) -> Service:
    return await serve(auth={"mode": "bearer", "tokens_file": str(tokens)})


async def post(service: Service, authorization: str | None) -> Reply:
    headers = {} if authorization is None else {"Authorization": authorization}
    return await service.ask("POST", WEBHOOK, json=BODY, headers=headers)


@pytest.mark.parametrize("given", ["Bearer s3cret-one", "bearer   s3cret-one", "Bearer s3cret:two"])
async def test_a_valid_token_is_let_in(guarded: Service, given: str) -> None:
    assert (await post(guarded, given)).status == 202
    assert guarded.value("gateway_token_validations_total", result="valid") == 1


@pytest.mark.parametrize("given", [None, "", "Basic czNjcmV0LW9uZQ==", "s3cret-one"])
async def test_no_token_is_401_with_a_challenge(guarded: Service, given: str | None) -> None:
    reply = await post(guarded, given)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="alert-gateway"'
    assert reply.json["reason"] == "unauthenticated"
    assert guarded.engine.accepted == []
    assert guarded.value("gateway_token_validations_total", result="missing") == 1


@pytest.mark.parametrize(
    "given", ["Bearer ", "Bearer wrong", "Bearer s3cret-on", "Bearer s3cret-one2", "Bearer \u00e4\u00f6"]
)
async def test_a_wrong_token_is_401_and_says_so(guarded: Service, given: str) -> None:
    reply = await post(guarded, given)
    assert reply.status == 401
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert guarded.value("gateway_token_validations_total", result="invalid") == 1


async def test_two_authorizations_are_none(guarded: Service) -> None:
    answer = await guarded.raw(
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer s3cret-one\r\nAuthorization: Bearer wrong\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_everything_is_guarded_but_health_the_description_and_the_empty_page(guarded: Service) -> None:
    public = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/{asset}", "/", "/page/{asset}"}
    assets = {"/docs/{asset}": "start.js", "/page/{asset}": "page.js"}
    for route in guarded.web.routes.all:
        for path in (route.path, *route.aliases):
            for method in route.handlers:
                reply = await guarded.ask(
                    method, path.replace("{asset}", assets.get(route.path, "")).replace("{", "a")
                )
                assert reply.status == (200 if route.path in public else 401), (method, path)
    assert (await guarded.ask("GET", "/metrics", base=guarded.web.metrics.url)).status == 200


async def test_the_declared_size_is_looked_at_before_the_token_and_the_body_after_it(
    guarded: Service,
) -> None:
    start = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\n"
    large = await guarded.raw(f"{start}Content-Length: 99999999999\r\n\r\n".encode())
    assert large.startswith(b"HTTP/1.1 413 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(f"{start}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
    writer.write(b" " * 10)  # a body that is sent all the same does no harm
    writer.close()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def name_of(file: TokensFile, token: str) -> str | None:
    owner = file.owner(token)
    return owner.name if owner else None


def replace(path: Path, text: str) -> None:
    """As a mounted secret is replaced: another file under the same name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_changed_file_counts_within_five_seconds(tokens: Path) -> None:
    clock = Clock()
    file = TokensFile(tokens, clock)
    assert name_of(file, "s3cret-one") == "alertmanager"
    replace(tokens, "alertmanager:fresh\n")
    clock.now += 5
    assert name_of(file, "fresh") == "alertmanager"
    assert file.owner("s3cret-one") is None


@pytest.mark.parametrize("content", ["", "no colon here\n", "a:x\nb:x\n", "name:\n"])
def test_a_bad_file_keeps_the_tokens_read_last_and_a_good_one_heals_it(tokens: Path, content: str) -> None:
    clock = Clock()
    file = TokensFile(tokens, clock)
    replace(tokens, content)
    clock.now += 5
    assert name_of(file, "s3cret-one") == "alertmanager"
    replace(tokens, "prober:fresh\n")
    clock.now += 5
    assert name_of(file, "fresh") == "prober"
    assert file.owner("s3cret-one") is None


def test_a_file_that_is_gone_keeps_the_tokens_read_last(tokens: Path) -> None:
    clock = Clock()
    file = TokensFile(tokens, clock)
    tokens.unlink()
    clock.now += 5
    assert name_of(file, "s3cret-one") == "alertmanager"


def test_one_name_may_have_two_tokens_for_a_time() -> None:
    assert [owner.name for owner in read_tokens(b"a:one\na:two\n").values()] == ["a", "a"]


def test_a_file_that_cannot_be_used_at_the_start_says_why_and_never_shows_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        TokensFile(tmp_path / "none", Clock())
    with pytest.raises(ConfigurationError) as caught:
        read_tokens(b"a:hush\nb:hush\nbroken\nc:hu sh\n")
    assert [fault.split(":")[1] for fault in caught.value.faults] == [" line 2", " line 3", " line 4"]
    assert "hush" not in str(caught.value)


async def test_a_sender_has_its_name_in_the_policy(serve: Serve, tokens: Path) -> None:
    rule = {"matchers": ['identity="prober"'], "action": "deny", "reason": "no_probes"}
    service = await serve(auth={"mode": "bearer", "tokens_file": str(tokens)}, policy={"rules": [rule]})
    assert (await post(service, "Bearer s3cret:two")).status == 403
    assert (await post(service, "Bearer s3cret-one")).status == 202
