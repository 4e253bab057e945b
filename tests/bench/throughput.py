"""Intake: duplicates of 1000 open problems, beside a handler that only decodes and fingerprints them.

The gateway checks bearer tokens, counts and logs as delivered, but waits for a Redis that gets no core in time. The
bare handler (`bare.py`) uses the gateway's own functions for what it does. Both are posted to
in turns, and a figure is the median of the ratios of neighbouring rounds, so that whatever else the machine does hits
both. Redis and the load generator share its cores. So does the Kubernetes API: the embedded one, because a real
kube-apiserver on the same two cores takes most of one for itself, and the figure would be its own.

The latency until an alert is durable is measured where half of the webhooks come a second that were answered before.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaos.rig.gateway_process import GatewayProcess
from tests.bench.figures import Figure, at_least
from tests.bench.load import AUTHORIZATION, alert, post, webhook, webhooks
from tests.bench.rounds import Rounds, Seen
from tests.bench.stage import PATIENT, Stage, say, settle

PROBLEMS = 1000
RATIO_AT_LEAST = {1: 0.7, 10: 0.7, 50: 0.6, 500: 0.6}
CONNECTIONS = 128
CHANGING = 40_000
"""Alerts in the bodies that are sent round and round where each differs from the last one about its problem.

They differ in an annotation, as a measured value does. Their labels are those of the problems, which the gateway
remembers (`gateway.intake.recent`, 65,536 at most): all of them find their labels there, as alerts as before do.
"""
HALF_LOAD_SIZE = 10


class Sides:
    """The gateway and the bare handler, with 1000 open problems."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        _, kubeconfig = stage.embedded()
        bare, bare_port = stage.bare()
        gateway = stage.gateway(stage.redis(), kubeconfig, PATIENT)
        gateway.start()
        open_problems(gateway, PROBLEMS)
        self._rounds = Rounds(
            stage.folder,
            {"gateway": (gateway, gateway.port), "bare": (bare, bare_port)},
            connections=stage.some(CONNECTIONS, 8),
            authorization={"gateway": AUTHORIZATION, "bare": AUTHORIZATION},
        )

    def in_turns(self, size: int, *, changing: bool = False, rate: float = 0.0) -> Seen:
        """What both sides showed with webhooks of so many alerts, going round the problems."""
        count = self._stage.some(CHANGING, CHANGING // 10) if changing else 2 * PROBLEMS
        for side in ("gateway", "bare"):
            self._rounds.send_to(side, bodies(size, count, changing=changing))
        return accepted(
            self._rounds.measure(self._stage.options.rounds, self._stage.options.seconds, rate=rate)
        )


def accepted(seen: Seen) -> Seen:
    """Raises where a webhook was not."""
    if errors := seen.errors("gateway") + seen.errors("bare"):
        raise RuntimeError(f"{errors} webhooks were not accepted under load")
    return seen


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


def measure(stage: Stage) -> Iterator[Figure]:
    """Rates at all sizes, of alerts as before and of changed ones."""
    sides = Sides(stage)
    for kind in stage.options.kinds:
        for size in stage.options.sizes:
            say(f"{size} alerts a webhook, {kind} …")
            seen = sides.in_turns(size, changing=kind == "changing")
            least = RATIO_AT_LEAST.get(size)
            yield Figure(
                f"intake, {size} a webhook, {'as before' if kind == 'same' else 'changed'}",
                seen.ratio("gateway", "bare", "rate"),
                "webhooks a second, gateway / handler that only decodes and fingerprints",
                limit=None if least is None else at_least(least),
                beside={
                    "in processor time": seen.ratio("bare", "gateway", "cpu_us"),
                    "alerts a second": seen.median("gateway", "rate") * size,
                    "processor time a webhook, us": seen.median("gateway", "cpu_us"),
                    "p50, ms": seen.median("gateway", "p50_ms"),
                    "p99, ms": seen.median("gateway", "p99_ms"),
                },
            )


def measure_at_half_load(stage: Stage) -> Iterator[Figure]:
    """How long a sender waits until its alerts are durable, with half of what the gateway can take."""
    sides = Sides(stage)
    say("latency at half load …")
    most = sides.in_turns(HALF_LOAD_SIZE).median("gateway", "rate")
    seen = sides.in_turns(HALF_LOAD_SIZE, rate=most / 2)
    for quantile in ("p50", "p99"):
        yield Figure(
            f"until durable at half load, {quantile}",
            seen.ratio("gateway", "bare", f"{quantile}_ms"),
            f"time to the answer, {HALF_LOAD_SIZE} alerts a webhook, gateway / bare handler at the same rate",
            beside={
                "ms": seen.median("gateway", f"{quantile}_ms"),
                "bare handler, ms": seen.median("bare", f"{quantile}_ms"),
                "webhooks a second": most / 2,
            },
        )
