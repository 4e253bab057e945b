"""Several modes at once: the first that knows the sender decides, else the one that knows most of what was shown."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from gateway.config.settings import AuthMode
from gateway.telemetry.metrics import Metrics
from gateway.web.auth.guard import Guard
from gateway.web.auth.identities import Authenticator, Credentials, Identity, Refusal, Result
from gateway.web.problems import Problem


class Says(Authenticator):
    """A mode that gives always the same answer."""

    mode = AuthMode.JWT
    challenge = "Bearer x"

    def __init__(self, answer: Identity | Refusal) -> None:
        self._answer = answer
        self.asked = 0

    async def examine(self, _credentials: Credentials, /) -> Identity | Refusal:
        self.asked += 1
        return self._answer


def no(result: Result) -> Says:
    return Says(Refusal(result))


def request() -> web.BaseRequest:
    return make_mocked_request("POST", "/")


async def asked(*modes: Says) -> tuple[int, Metrics]:
    metrics = Metrics(CollectorRegistry())
    try:
        await Guard(modes, metrics).identify(request())
    except Problem as problem:
        return problem.status, metrics
    return 200, metrics


def counted(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["result"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gateway_token_validations_total" and sample.value
    }


@pytest.mark.parametrize("result", [result for result in Result if result is not Result.VALID])
async def test_each_refusal_has_its_status_and_is_counted_once_under_its_word(result: Result) -> None:
    status, metrics = await asked(no(Result.MISSING), no(result), no(Result.MISSING))
    assert status == {Result.FORBIDDEN: 403, Result.UNAVAILABLE: 503}.get(result, 401)
    assert counted(metrics) == {result.value: 1}


async def test_one_that_knows_the_sender_is_enough() -> None:
    last = no(Result.MISSING)
    status, metrics = await asked(no(Result.INVALID), Says(Identity("a", AuthMode.JWT)), last)
    assert (status, last.asked) == (200, 0)
    assert counted(metrics) == {"valid": 1}


async def test_whoever_is_revoked_is_let_in_by_no_other_mode() -> None:
    other = Says(Identity("a", AuthMode.TOKENREVIEW))
    status, metrics = await asked(no(Result.REVOKED), other)
    assert (status, other.asked) == (401, 0)
    assert counted(metrics) == {"revoked": 1}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (Result.INVALID, Result.EXPIRED, Result.EXPIRED),
        (Result.INVALID, Result.MALFORMED, Result.INVALID),
        (Result.EXPIRED, Result.UNAVAILABLE, Result.UNAVAILABLE),
        (Result.MISSING, Result.MISSING, Result.MISSING),
    ],
)
async def test_the_mode_that_knows_most_is_told(first: Result, second: Result, told: Result) -> None:
    for modes in ((no(first), no(second)), (no(second), no(first))):
        _, metrics = await asked(*modes)
        assert counted(metrics) == {told.value: 1}
