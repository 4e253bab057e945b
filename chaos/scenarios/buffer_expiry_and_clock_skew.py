"""Too few alerts for a storm, and clocks that are wrong: of a gateway, then of Redis."""

from __future__ import annotations

from chaos.injections import Injection
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario

SOURCE = "remediation.kubernaut.io/source"
EXPIRATIONS = "gateway_storm_buffer_expirations_total"


async def _play(r: Rehearsal) -> None:
    hold = r.time(60, 8)
    with r.phase("two alerts, and a gateway whose clock is ahead"):
        began = r.now()
        first = await r.send(*r.problems("DiskFilling", range(2)), to=0)
        async with r.injecting(Injection.TIME_SKEW):
            other = await r.send(r.problem("NodeFlapping", "pod-0"), to=1)
            await r.wait(42, 5)
            early = len(await r.requests())
            waited = r.now() - began
            await r.until_requests(3, seconds=hold + 15)
    after_hold = await r.requests()
    third = await r.send(r.problem("DiskFilling", "pod-2"), to=0)
    with r.phase("the third alert, alone in a window of its own"):
        await r.until_requests(4, seconds=hold + 15)
    requests = await r.requests()
    with r.phase("two alerts, and a Redis whose clock steps"):
        before = await r.send(*r.problems("QuotaReached", range(2)))
        stepped = r.now()
        async with r.injecting(Injection.REDIS_TIME_SKEW):
            await r.until_requests(6, seconds=15)
            jumped = r.now() - stepped
            after = await r.send(r.problem("QuotaReached", "pod-2"))
            await r.until_requests(7, seconds=hold + 15)
    everything = await r.requests()
    await r.settled()
    r.must(f"requests after {waited:.0f} s of {hold:g} s, whatever a gateway's clock says", early, exactly=0)
    r.must("requests after the hold", len(after_hold), exactly=3)
    r.must("windows that the first two alerts opened", len(first.windows), exactly=1)
    r.must_hold(
        "the skewed gateway's window is another group's", when=other.windows.isdisjoint(first.windows)
    )
    r.must_hold("the third alert opens a new window", when=third.windows - first.windows)
    r.must("requests of the three alerts", sum(_is_of(one, "DiskFilling") for one in requests), exactly=3)
    r.must("after Redis's clock stepped, requests within", jumped, at_most=10, unit="s")
    r.must_hold("… and the next alert opens a new window", when=after.windows - before.windows)
    r.must("requests in all", len(everything), exactly=7)
    sources = {one["metadata"]["annotations"].get(SOURCE) for one in everything}
    r.must_hold('all of them with source "buffer_expiration"', when=sources == {"buffer_expiration"})
    r.must(
        'gateway_crds_created_total{source="buffer_expiration"}',
        r.sight.increase("gateway_crds_created_total", source="buffer_expiration"),
        exactly=7,
    )
    r.must(f"{EXPIRATIONS} rises by", r.sight.increase(EXPIRATIONS), exactly=5)


def _is_of(request: dict[str, object], name: str) -> bool:
    spec = request["spec"]
    return isinstance(spec, dict) and spec["signalLabels"].get("alertname") == name


SCENARIO = Scenario(
    number=5,
    name="buffer-expiry-and-clock-skew",
    title="Windows end below their threshold, and clocks are wrong",
    proves="Time is Redis's: a gateway's clock changes nothing, and a step of Redis's loses nothing.",
    play=_play,
    injections=(Injection.TIME_SKEW, Injection.REDIS_TIME_SKEW),
    needs=Needs(redis="faked clock", faked_clock=True),
    shortened={"storm": {"hold": "8s", "inactivity": "8s"}},
)
