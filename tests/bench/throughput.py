"""Intake: duplicates of 1000 open problems, beside a handler that only decodes and fingerprints them.

The gateway checks bearer tokens, counts and logs as delivered; the bare handler (`bare.py`) uses the gateway's own
functions for what it does. Both are posted to in turns, and a figure is the median of the ratios of neighbouring
rounds, so that whatever else the machine does hits both. Redis and the load generator share its cores. So does the
Kubernetes API: the embedded one, because a real kube-apiserver on the same two cores takes most of one for itself, and
the figure would be its own.

The latency until an alert is durable is measured where half of the webhooks come a second that were answered before.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from tests.bench.figures import Figure, at_least
from tests.bench.load import alert, hammer, post, webhook, webhooks
from tests.bench.stage import Stage, cpu_seconds, say, settle

PROBLEMS = 1000
RATIO_AT_LEAST = {1: 0.7, 10: 0.7, 50: 0.6, 500: 0.6}
CONNECTIONS = 128
CHANGING = 40_000
"""Changed alerts that are sent before the first comes again: more than the gateway remembers."""
HALF_LOAD_SIZE = 10


class Sides:
    """The gateway and the bare handler, with 1000 open problems."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        _, kubeconfig = stage.embedded()
        bare, bare_port = stage.bare()
        gateway = stage.gateway(stage.redis(), kubeconfig)
        gateway.start()
        open_problems(gateway, PROBLEMS)
        self._sides: dict[str, tuple[Process, int]] = {
            "gateway": (gateway, gateway.port),
            "bare": (bare, bare_port),
        }
        self._options = stage.options
        self._connections = stage.some(CONNECTIONS, 8)

    def in_turns(self, file: Path, *, rate: float = 0.0) -> dict[str, list[dict[str, float]]]:
        """What the load generator saw of each side, round by round."""
        seen: dict[str, list[dict[str, float]]] = {"gateway": [], "bare": []}
        for number in range(self._options.rounds):
            for name in ("bare", "gateway") if number % 2 else ("gateway", "bare"):
                server, port = self._sides[name]
                before = cpu_seconds(server)
                one = hammer(port, file, self._connections, self._options.seconds, rate=rate)
                one["rate"] = one["requests"] / one["seconds"]
                one["cpu_us"] = (cpu_seconds(server) - before) / one["requests"] * 1e6
                seen[name].append(one)
        return seen

    def file(self, size: int, *, changing: bool = False) -> Path:
        """Webhooks of so many alerts, going round the problems."""
        count = self._stage.some(CHANGING, CHANGING // 10) if changing else 2 * PROBLEMS
        return self._stage.file(f"bodies-{size}", bodies(size, count, changing=changing))


def bodies(size: int, alerts: int, *, problems: int = PROBLEMS, changing: bool = False) -> list[bytes]:
    """So many alerts about the problems, `size` in a webhook."""
    return [
        webhook(
            [
                alert((number * size + offset) % problems, turn=number if changing else None)
                for offset in range(size)
            ]
        )
        for number in range(alerts // size)
    ]


def open_problems(gateway: GatewayProcess, problems: int) -> None:
    """Fire each once, and wait until each is confirmed."""
    post(gateway, webhooks([alert(number) for number in range(problems)]))
    settle(gateway, "all problems to be confirmed")


def ratio(seen: dict[str, list[dict[str, float]]], what: str, *, upside_down: bool = False) -> float:
    """The median over neighbouring rounds of the gateway's value divided by the bare handler's."""
    several = [
        (theirs[what] / ours[what]) if upside_down else (ours[what] / theirs[what])
        for ours, theirs in zip(seen["gateway"], seen["bare"], strict=True)
    ]
    return statistics.median(several)


def median(seen: list[dict[str, float]], what: str) -> float:
    return statistics.median(one[what] for one in seen)


def measure(stage: Stage) -> Iterator[Figure]:
    """Rates at all sizes, of alerts as before and of changed ones."""
    sides = Sides(stage)
    for kind in stage.options.kinds:
        for size in stage.options.sizes:
            say(f"{size} alerts a webhook, {kind} …")
            seen = sides.in_turns(sides.file(size, changing=kind == "changing"))
            least = RATIO_AT_LEAST.get(size) if kind == "same" else None
            yield Figure(
                f"intake, {size} a webhook, {'as before' if kind == 'same' else 'changed'}",
                ratio(seen, "rate"),
                "webhooks a second, gateway / handler that only decodes and fingerprints",
                limit=None if least is None else at_least(least),
                beside={
                    "in processor time": ratio(seen, "cpu_us", upside_down=True),
                    "alerts a second": median(seen["gateway"], "rate") * size,
                    "processor time a webhook, us": median(seen["gateway"], "cpu_us"),
                    "p50, ms": median(seen["gateway"], "p50_ms"),
                    "p99, ms": median(seen["gateway"], "p99_ms"),
                },
            )


def measure_at_half_load(stage: Stage) -> Iterator[Figure]:
    """How long a sender waits until its alerts are durable, with half of what the gateway can take."""
    sides = Sides(stage)
    say("latency at half load …")
    file = sides.file(HALF_LOAD_SIZE)
    most = median(sides.in_turns(file)["gateway"], "rate")
    seen = sides.in_turns(file, rate=most / 2)
    for quantile in ("p50", "p99"):
        yield Figure(
            f"until durable at half load, {quantile}",
            ratio(seen, f"{quantile}_ms"),
            f"time to the answer, {HALF_LOAD_SIZE} alerts a webhook, gateway / bare handler at the same rate",
            beside={
                "ms": median(seen["gateway"], f"{quantile}_ms"),
                "bare handler, ms": median(seen["bare"], f"{quantile}_ms"),
                "webhooks a second": most / 2,
            },
        )
