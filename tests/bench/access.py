"""What authentication costs: the rate of gateways that check a token, beside one that lets everybody in.

All of them share a Redis and the embedded API, and count duplicates of the same open problems, one alert a webhook, in
turns. The signed token is verified once and remembered after that, as it is with any sender that comes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench.figures import Figure, at_least
from tests.bench.load import AUTHORIZATION
from tests.bench.rounds import Rounds
from tests.bench.stage import PATIENT, Stage, say
from tests.bench.throughput import PROBLEMS, bodies, open_problems
from tests.unit.web.auth.tokens import pem, signing, token

AT_LEAST = 0.85


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
        mode: stage.gateway(redis, kubeconfig, PATIENT, name=mode, auth=auth)
        for mode, (auth, _) in modes.items()
    }
    for gateway in gateways.values():
        gateway.start()
    open_problems(gateways["none"], PROBLEMS)
    rounds = Rounds(
        stage.folder,
        {mode: (gateway, gateway.port) for mode, gateway in gateways.items()},
        authorization={mode: said for mode, (_, said) in modes.items()},
    )
    for mode in modes:
        rounds.send_to(mode, bodies(1, 2 * PROBLEMS))
    seen = rounds.measure(stage.options.rounds, stage.options.seconds)
    if any(seen.errors(mode) for mode in modes):
        raise RuntimeError("webhooks were not accepted under load")
    for mode in ("bearer", "jwt"):
        yield Figure(
            f"auth.mode {mode}",
            seen.ratio(mode, "none", "rate"),
            "webhooks a second of one alert, with this mode / with none",
            limit=at_least(AT_LEAST),
            beside={
                "in processor time": seen.ratio("none", mode, "cpu_us"),
                "webhooks a second": seen.median(mode, "rate"),
            },
        )
