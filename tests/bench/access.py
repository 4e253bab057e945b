"""What authentication costs: the rate of gateways that check a token, beside one that lets everybody in.

All of them share a Redis and the embedded API, and count duplicates of the same open problems, one alert a webhook, in
turns. The signed token is verified once and remembered after that, as it is with any sender that comes again.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from tests.bench.figures import Figure, at_least
from tests.bench.load import AUTHORIZATION, hammer
from tests.bench.stage import Stage, say
from tests.bench.throughput import PROBLEMS, bodies, open_problems
from tests.unit.web.auth.tokens import pem, signing, token

AT_LEAST = 0.85
CONNECTIONS = 64


def measure(stage: Stage) -> Iterator[Figure]:
    """Of each mode: the median of the ratios of neighbouring rounds."""
    say("authentication, with and without …")
    key = stage.folder / "token.key"
    key.write_bytes(pem())
    modes: dict[str, tuple[dict[str, Any] | None, str]] = {
        "none": ({"mode": "none"}, ""),
        "bearer": (None, AUTHORIZATION),
        "jwt": ({"mode": "jwt", "jwt": {"key_file": str(key)}}, f"Bearer {token(signing(key))}"),
    }
    redis, (_, kubeconfig) = stage.redis(), stage.embedded()
    gateways = {
        mode: stage.gateway(redis, kubeconfig, name=mode, auth=auth) for mode, (auth, _) in modes.items()
    }
    for gateway in gateways.values():
        gateway.start()
    open_problems(gateways["none"], PROBLEMS)
    sent = stage.file("bodies-access", bodies(1, 2 * PROBLEMS))
    rates: dict[str, list[float]] = {mode: [] for mode in modes}
    for number in range(stage.options.rounds):
        for mode in list(modes) if number % 2 else reversed(modes):
            seen = hammer(
                gateways[mode].port, sent, CONNECTIONS, stage.options.seconds, authorization=modes[mode][1]
            )
            rates[mode].append(seen["requests"] / seen["seconds"])
    for mode in ("bearer", "jwt"):
        yield Figure(
            f"auth.mode {mode}",
            statistics.median(a / b for a, b in zip(rates[mode], rates["none"], strict=True)),
            "webhooks a second of one alert, with this mode / with none",
            limit=at_least(AT_LEAST),
            beside={"webhooks a second": statistics.median(rates[mode])},
        )
