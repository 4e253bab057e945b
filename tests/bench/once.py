"""Posts each of some webhooks once, so many at a time, as fast as they are answered.

    python -m tests.bench.once HOST PORT FILE AT_ONCE [AUTHORIZATION]

FILE holds bodies, one JSON document a line. Prints one JSON object: when the first was sent (seconds since 1970), how
many seconds it took until all were answered, and the processor for that (`cpu`); and how many were not answered 2xx.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
import uvloop

from tests.bench.load import PATH


async def post(url: str, bodies: list[bytes], at_once: int, authorization: str) -> dict[str, float]:
    """Post them all and say how it went."""
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": authorization} if authorization else {}
    )
    left = iter(bodies)
    errors = 0
    async with aiohttp.ClientSession(
        url, connector=aiohttp.TCPConnector(limit=at_once), headers=headers
    ) as session:

        async def work() -> None:
            nonlocal errors
            for body in left:
                async with session.post(PATH, data=body) as answer:
                    await answer.read()
                    errors += answer.status not in (201, 202)

        began, used, at = time.perf_counter(), time.process_time(), time.time()
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(work())
        return {
            "began": at,
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - used,
            "errors": errors,
        }


def main() -> None:
    host, port, file, at_once, *more = sys.argv[1:]
    bodies = Path(file).read_bytes().splitlines()
    print(json.dumps(uvloop.run(post(f"http://{host}:{port}", bodies, int(at_once), *(more or [""])))))


if __name__ == "__main__":
    main()
