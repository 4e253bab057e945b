"""A gateway is killed in the middle of a storm, and goes on with the same window."""

from __future__ import annotations

import re

from chaos.injections import Injection
from chaos.oracle import Room
from chaos.rehearsal import Rehearsal
from chaos.scenario import Scenario

STORM = 30
NAME = "PodOOMKilled"


async def _play(r: Rehearsal) -> None:
    problems = r.problems(NAME, range(STORM))
    windows: set[str] = set()
    pause = r.time(60, 9) / STORM

    async def some(numbers: range) -> None:
        for number in numbers:
            windows.update((await r.send(problems[number])).windows)
            await r.wait(pause, pause)

    with r.phase("the storm begins"):
        await some(range(10))
    async with r.injecting(Injection.GATEWAY_POD_RESTART) as killed:
        with r.phase("the storm goes on"):
            await some(range(10, STORM))
        await r.until(lambda: r.ready_since(killed) is not None, "the gateway to be ready", seconds=30)
    before = await r.requests()
    with r.phase("the window ends"):
        await r.until_requests(1, seconds=r.time(90, 60))
    requests = await r.requests()
    storms = [
        one["metadata"]["name"] for one in requests if re.match(r"rr-.*-storm-", one["metadata"]["name"])
    ]
    r.must("ready again within", r.ready_since(killed), at_most=r.time(10, 20), unit="s")
    r.must("windows that held the storm", len(windows), exactly=1)
    r.must(
        "gateway_storm_buffer_recovered_total rises by",
        r.sight.increase("gateway_storm_buffer_recovered_total", since=killed),
        at_least=1,
    )
    r.must("requests while the window is open", len(before), exactly=0)
    r.must("requests named rr-*-storm-*", len(storms), exactly=1)
    r.must("requests in all", len(requests), exactly=1)
    r.must_hold("its name is the window's", when=storms and windows == {storms[0].rpartition("-storm-")[2]})


SCENARIO = Scenario(
    number=7,
    name="gateway-pod-restart",
    title="A gateway is killed in a storm",
    proves="A window outlives the process that opened it, and becomes exactly one request.",
    play=_play,
    injections=(Injection.GATEWAY_POD_RESTART,),
    # Longer than a start takes beside everything else, or the other gateway ends the window meanwhile.
    shortened={"storm": {"hold": "24s", "inactivity": "20s", "max_window": "90s"}},
    room=Room(deaths=True),
    kills=True,
)
