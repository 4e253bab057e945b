"""The bare client that lists: reads a collection of a Kubernetes API page by page, and keeps nothing of it.

    python -m tests.bench.lister KUBECONFIG PATH

Prints one JSON object: how many pages and bytes there were, and in how many seconds.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import uvloop

from tests.bench.creator import session_of

PAGE = 500
ENDS = 4096
"""Bytes: the list's metadata come last with custom resources, and first with others."""
_TOKEN = re.compile(rb'"continue":"([^"]+)"')


async def read(kubeconfig: Path, path: str) -> dict[str, float]:
    """Read it all; raises `RuntimeError` where a page is refused."""
    pages, size, token = 0, 0, ""
    async with session_of(kubeconfig, at_once=1) as session:
        began = time.perf_counter()
        while pages == 0 or token:
            query = {"limit": str(PAGE)} | ({"continue": token} if token else {})
            async with session.get(path, params=query) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"the API answered {answer.status}: {body[:200]!r}")
            found = _TOKEN.search(body[-ENDS:]) or _TOKEN.search(body[:ENDS])
            token = found[1].decode() if found else ""
            pages += 1
            size += len(body)
        return {"pages": pages, "bytes": size, "seconds": time.perf_counter() - began}


def main() -> None:
    kubeconfig, path = sys.argv[1:]
    print(json.dumps(uvloop.run(read(Path(kubeconfig), path))))


if __name__ == "__main__":
    main()
