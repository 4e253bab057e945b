from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from chaos.rig.clocks import Clock
from gateway.config.settings import AuthMode, ReviewAccess, TokenReview
from gateway.errors import KubeForbidden
from gateway.model import TokenOwner
from gateway.web.auth.identities import Credentials, Identity, Refusal, Result
from gateway.web.auth.tokenreview import AT_ONCE, TokenReviews
from gateway.web.ports import Backends
from tests.unit.web.harness import Serve

ALERTMANAGER = "system:serviceaccount:monitoring:alertmanager"


class MemoryReviewer:
    """A cluster that knows one token."""

    def __init__(self) -> None:
        self.up = True
        self.gate: asyncio.Event | None = None
        self.allowed = True
        self.asked: list[str] = []
        self.accesses: list[ReviewAccess] = []

    async def owner(self, token: str, audiences: Sequence[str]) -> TokenOwner | None:
        self.asked.append(token)
        if self.gate is not None:
            await self.gate.wait()
        if not self.up:
            raise KubeForbidden("tokenreviews is forbidden", status=403)
        return TokenOwner(ALERTMANAGER, "u1", ("system:authenticated",), {}) if token == "good" else None

    async def permitted(self, owner: TokenOwner, access: ReviewAccess) -> bool:
        self.accesses.append(access)
        return self.allowed


@pytest.fixture
def reviewer() -> MemoryReviewer:
    return MemoryReviewer()


def mode(reviewer: MemoryReviewer, clock: Clock | None = None, **rules: Any) -> TokenReviews:
    return TokenReviews(TokenReview.model_validate(rules), reviewer, clock or Clock())


async def ask(mode: TokenReviews, token: str = "good") -> Identity | Refusal:
    return await mode.examine(Credentials("bearer", token))


def result(answer: Identity | Refusal) -> Result:
    assert isinstance(answer, Refusal)
    return answer.result


async def test_an_answer_holds_for_the_time_of_the_cache_and_no_longer(reviewer: MemoryReviewer) -> None:
    clock = Clock()
    asked = mode(reviewer, clock)
    for _ in range(3):
        assert await ask(asked) == Identity(ALERTMANAGER, AuthMode.TOKENREVIEW)
        assert result(await ask(asked, "bad")) is Result.INVALID
    assert reviewer.asked == ["good", "bad"]
    clock.now += 11
    await ask(asked)
    assert reviewer.asked == ["good", "bad", "good"]


async def test_many_with_one_token_are_one_review(reviewer: MemoryReviewer) -> None:
    reviewer.gate = asyncio.Event()
    asked = mode(reviewer)
    waiting = [asyncio.ensure_future(ask(asked)) for _ in range(100)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    reviewer.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(answer, Identity) for answer in answers) == 99
    assert reviewer.asked == ["good"]


async def test_strangers_do_not_flood_the_api_server(reviewer: MemoryReviewer) -> None:
    reviewer.gate = asyncio.Event()
    asked = mode(reviewer)
    waiting = [asyncio.ensure_future(ask(asked, f"guess{number}")) for number in range(AT_ONCE + 5)]
    await asyncio.sleep(0)
    reviewer.gate.set()
    results = [result(answer) for answer in await asyncio.gather(*waiting)]
    assert results.count(Result.UNAVAILABLE) == 5
    assert len(reviewer.asked) == AT_ONCE


@pytest.mark.parametrize("token", ["a b", "\u00e4", "x" * 9000, "a\x00b"])
async def test_what_is_no_token_is_not_asked_about(reviewer: MemoryReviewer, token: str) -> None:
    assert result(await ask(mode(reviewer), token)) is Result.MALFORMED
    assert reviewer.asked == []


async def test_a_cluster_that_does_not_answer_is_503_and_not_remembered(
    serve: Serve, reviewer: MemoryReviewer
) -> None:
    service = await serve(auth={"mode": "tokenreview"}, backends=Backends(reviewer=reviewer))
    reviewer.up = False
    good = {"headers": {"Authorization": "Bearer good"}}
    assert (await service.ask("GET", "/v1/status", **good)).status == 503
    assert "tokens are not reviewed" in (await service.ask("GET", "/readyz")).body.decode()
    reviewer.up = True
    assert (await service.ask("GET", "/v1/status", **good)).status == 200
    ready = (await service.ask("GET", "/readyz")).body.decode()
    assert "tokens are not reviewed" not in ready
    assert "every account of the cluster" in ready


@pytest.mark.parametrize(
    ("names", "let_in"),
    [
        ([ALERTMANAGER], True),
        (["x", "system:serviceaccount:monitoring:*"], True),
        (["system:serviceaccount:shop:*"], False),
    ],
)
async def test_only_accounts_that_are_named_are_let_in(
    reviewer: MemoryReviewer, names: list[str], let_in: bool
) -> None:
    answer = await ask(mode(reviewer, names=names))
    assert isinstance(answer, Identity) if let_in else result(answer) is Result.FORBIDDEN


async def test_the_clusters_rules_are_asked_where_that_is_wanted(reviewer: MemoryReviewer) -> None:
    access = {"verb": "post", "path": "/v1/webhooks/prometheus"}
    assert isinstance(await ask(mode(reviewer, access=access)), Identity)
    reviewer.allowed = False
    assert result(await ask(mode(reviewer, access=access))) is Result.FORBIDDEN
    assert [one.path for one in reviewer.accesses] == ["/v1/webhooks/prometheus"] * 2
