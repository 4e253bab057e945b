"""The bare client: posts objects to a Kubernetes API as fast as it answers, and does nothing else.

    python -m tests.bench.creator KUBECONFIG PATH FILE AT_ONCE

FILE holds objects, one JSON document a line. The same library and event loop as the gateway's, so many calls at once.
Prints one JSON object: how many were created, in how many seconds, and how many its processor used (`cpu`).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

import aiohttp
import uvloop
import yaml


def session_of(kubeconfig: Path, *, at_once: int) -> aiohttp.ClientSession:
    """A session with the API of a kubeconfig of the rig."""
    access = yaml.safe_load(kubeconfig.read_text())
    cluster, user = access["clusters"][0]["cluster"], access["users"][0]["user"]
    authority = cluster.get("certificate-authority")
    trusted = ssl.create_default_context(cafile=authority) if authority else True
    return aiohttp.ClientSession(
        cluster["server"],
        connector=aiohttp.TCPConnector(limit=at_once, ssl=trusted),
        headers={"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"},
    )


async def create(kubeconfig: Path, path: str, bodies: list[bytes], at_once: int) -> dict[str, float]:
    """Post them all; raises `RuntimeError` where one is not created."""
    left = iter(bodies)
    async with session_of(kubeconfig, at_once=at_once) as session:

        async def work() -> None:
            for body in left:
                async with session.post(path, data=body) as answer:
                    said = await answer.read()
                    if answer.status != 201:
                        raise RuntimeError(f"the API answered {answer.status}: {said[:200]!r}")

        began, used = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(work())
        return {
            "created": len(bodies),
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - used,
        }


def main() -> None:
    kubeconfig, path, file, at_once = sys.argv[1:]
    bodies = Path(file).read_bytes().splitlines()
    print(json.dumps(uvloop.run(create(Path(kubeconfig), path, bodies, int(at_once)))))


if __name__ == "__main__":
    main()
