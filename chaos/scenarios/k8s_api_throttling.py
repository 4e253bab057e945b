"""The Kubernetes API answers 429 to every write; first without, then with `Retry-After: 10`."""

from __future__ import annotations

from chaos.exposition import Page, value
from chaos.injections import Injection
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario
from chaos.sight import closed, opened

BACKOFF = "gateway_k8s_api_retry_backoff_seconds"
DEPTH = "gateway_k8s_api_request_queue_depth"
THROTTLED = "gateway_k8s_api_errors_total"
ROW = (1.0, 2.0, 4.0, 8.0, 16.0)
RETRY_AFTER = 10.0


async def _play(r: Rehearsal) -> None:
    with r.phase("baseline"):
        await r.send(r.problem("Calm", "pod"))
        await r.wait(20, 2)
    async with r.injecting(Injection.K8S_API_THROTTLING) as began:
        with r.phase("one alert alone"):
            # Its own row of delays: a breaker that opens would end it.
            await r.send(r.problem("Alone", "pod"))
            await r.until(
                lambda: r.sight.buckets(BACKOFF, since=began).get(16.0), "five attempts", seconds=40
            )
            delays = r.sight.buckets(BACKOFF, since=began)
        await _under_load(r, "first")
    await _recovers(r, "first")
    for delay in ROW:
        r.must(f"delays of {delay:g} s for an alert alone", delays.get(delay, 0), exactly=1)
    began = r.now()
    async with r.injecting(Injection.K8S_API_RETRY_AFTER):
        await _under_load(r, "second")
        count = r.sight.increase(f"{BACKOFF}_count", since=began)
        spent = r.sight.increase(f"{BACKOFF}_sum", since=began)
    await _recovers(r, "second")
    r.must("with Retry-After: 10 the mean delay is", spent / count if count else None, exactly=RETRY_AFTER)
    refused = sum(number for status, number in r.sender.statuses.items() if not 200 <= status < 300)
    r.must("answers that were not 2xx", refused, exactly=0)


async def _under_load(r: Rehearsal, name: str) -> None:
    """The storm of writes that are refused, until the injection ends."""
    begin = r.now()
    with r.phase(f"load under 429, {name} time"):
        async with r.load(r.time(200 / 60, 15), lambda n: [r.problem("Throttled", f"{name}-{n}")]):
            await r.together(opened("k8s_api"), since=begin, seconds=20)
            everywhere = r.sight.first(opened("k8s_api"), since=begin)
            open_at = begin + (everywhere or 0)
            await r.wait(120, 11)
            end = r.now()
    r.must(f"{name} time: every breaker is open within", everywhere, at_most=10, unit="s")
    r.must(f"{name} time: 429s that each gateway had met by then", _met(r, begin), at_least=10)
    calls = r.sight.increase(THROTTLED, since=open_at + 1, until=end, status="429")
    alerts = r.sight.increase("gateway_alerts_received_total", since=open_at + 1, until=end)
    r.must(
        f"{name} time: calls saved while open, against one an alert",
        None if not alerts else 100 * (1 - calls / alerts),
        at_least=97,
        unit="%",
    )
    r.must(f"{name} time: deepest queue", r.sight.highest(DEPTH, since=begin), at_least=1, at_most=999)


async def _recovers(r: Rehearsal, name: str) -> None:
    healed = r.now()
    with r.phase(f"recovery, {name} time"):

        def well(page: Page) -> bool:
            return closed("k8s_api")(page) and value(page, DEPTH) == 0

        took = await r.together(well, since=healed, seconds=45)
    r.must(f"{name} time: breakers closed and queue empty within", took, at_most=30, unit="s")


def _met(r: Rehearsal, since: float) -> float | None:
    """Of the gateway that opened with the fewest: how many 429s it had met in all."""
    met: dict[int, float] = {}
    for look in r.sight.looks:
        new = look.at >= since and look.gateway not in met
        if new and look.page is not None and opened("k8s_api")(look.page):
            met[look.gateway] = value(look.page, THROTTLED, {"status": "429"})
    return min(met.values(), default=None)


SCENARIO = Scenario(
    number=3,
    name="k8s-api-throttling",
    title="The Kubernetes API throttles every write",
    proves="A throttled API is left alone, what waits is kept, and all of it is written soon after.",
    play=_play,
    injections=(Injection.K8S_API_THROTTLING, Injection.K8S_API_RETRY_AFTER),
    # Each replica asks for itself whether the API is back: what is saved is told of one.
    needs=Needs(api_proxy=True, gateways=1),
)
