"""What authentication costs: the rate of gateways that check a token, beside one that lets everybody in.

All of them share a Redis and the embedded API, and count duplicates of the same open problems, one alert a webhook, in
turns. The signed token is verified once and remembered after that, as it is with any sender that comes again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.bench.load import PATH
from tests.unit.web.auth.tokens import pem, signing, token

AT_LEAST = 0.85
CONNECTIONS = 64
ROOT = Path(__file__).parents[2]


def measure(
    folder: Path, sent: Path, opening: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    """Of each mode: the median of the ratios of neighbouring rounds. `sent` holds the webhooks, `opening` are those
    that open the problems.
    """
    (folder / "tokens").write_text("bench:s3cret\n")
    key = folder / "token.key"
    key.write_bytes(pem())
    modes: dict[str, tuple[dict[str, Any], str]] = {
        "none": ({}, ""),
        "bearer": ({"mode": "bearer", "tokens_file": str(folder / "tokens")}, "Bearer s3cret"),
        "jwt": ({"mode": "jwt", "jwt": {"key_file": str(key)}}, f"Bearer {token(signing(key))}"),
    }
    redis = RedisServer(folder / "redis4", name="redis")
    kubeconfig = folder / "kubeconfig4"
    here = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY__")}
    command = [sys.executable, "-m", "tests.bench.embedded", str(kubeconfig)]
    api = Process("api", command, folder=folder / "api4", env=here, cwd=ROOT)
    gateways = {
        mode: GatewayProcess(
            folder / mode, name=mode, redis_url=redis.url, kubeconfig=kubeconfig, settings={"auth": auth}
        )
        for mode, (auth, _) in modes.items()
    }
    try:
        redis.start()
        api.start()
        wait_until(kubeconfig.exists, "the embedded API", seconds=20)
        for gateway in gateways.values():
            gateway.start()
        for body in opening:
            if gateways["none"].post(PATH, body)[0] not in (201, 202):
                raise RuntimeError("the problems cannot be opened")
        rates: dict[str, list[float]] = {mode: [] for mode in modes}
        for number in range(options.rounds):
            for mode in list(modes) if number % 2 else reversed(modes):
                rates[mode].append(_rate(gateways[mode], sent, modes[mode][1], options.seconds))
    finally:
        for process in (*gateways.values(), api, redis):
            process.kill()
    return {
        mode: {
            "ratio": statistics.median(a / b for a, b in zip(rates[mode], rates["none"], strict=True)),
            "webhooks_per_second": statistics.median(rates[mode]),
        }
        for mode in ("bearer", "jwt")
    }


def _rate(gateway: GatewayProcess, sent: Path, authorization: str, seconds: float) -> float:
    command = [sys.executable, "-m", "tests.bench.client", "127.0.0.1", str(gateway.port), str(sent)]
    command += [str(CONNECTIONS), str(seconds), *([authorization] if authorization else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seen = json.loads(done.stdout)
    if seen["errors"]:
        raise RuntimeError(f"{seen['errors']} requests failed under load")
    return float(seen["requests"] / seen["seconds"])
