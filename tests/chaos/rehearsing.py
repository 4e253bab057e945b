"""One scenario on the rig, in a test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from chaos.kubernetes import Kubernetes
from chaos.local.stage import GATEWAY
from chaos.local.way import LocalWay
from chaos.rig.cluster import Cluster
from chaos.running import play, told
from chaos.scenarios import BY_NAME
from chaos.verdicts import Verdict


async def rehearse(name: str, cluster: Cluster, folder: Path, *, program: Sequence[str] = GATEWAY) -> Verdict:
    """Play a scenario at its shortened times, and print what came of it."""
    async with Kubernetes(folder, cluster.kubeconfig) as kubernetes:
        way = LocalWay(cluster, kubernetes, folder, program)
        verdict = await play(BY_NAME[name], way, folder, full=False)
    print("\n".join(["", name, *told(verdict)]))
    return verdict


def mutated(name: str) -> list[str]:
    """The program that runs a mutant."""
    return [sys.executable, "-m", "tests.chaos.mutated", name]
