"""The embedded Kubernetes API alone, in a process of its own: `python -m tests.bench.embedded KUBECONFIG`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.dev.kubernetes import EmbeddedKubernetes


async def main() -> None:
    """Serve until the process is ended; the kubeconfig appears when it does."""
    async with EmbeddedKubernetes() as kubernetes:
        kubernetes.ensure_namespace("bench")
        kubernetes.ensure_namespace("kubernaut-system")
        kubernetes.write_kubeconfig(Path(sys.argv[1]))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
