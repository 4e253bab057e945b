"""The gateway's own audit over what a campaign sent, with what was deleted meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from chaos import command
from chaos.alerts import Json
from chaos.load.ground import Ground

WAIT = "60s"
"""For the stored requests to stay as they are."""


async def audited(ground: Ground, folder: Path) -> Json | None:
    """What `gateway audit` says, which goes to `audit.json`, too; None where the cluster is not known.

    On components of our own nobody else sends: a request that nobody asked for is a surplus.
    """
    if ground.kubernetes is None:
        return None
    arguments = ["--sent", str(folder / "sent.jsonl"), "--deleted", str(folder / "gone.jsonl")]
    if ground.kubernetes.kubeconfig is not None:
        arguments += ["--kubeconfig", str(ground.kubernetes.kubeconfig)]
    if ground.own:
        arguments.append("--exclusive")
    done = await command.run("audit", *arguments, "--wait", WAIT, "--output", "json", seconds=900)
    try:
        found: Json = json.loads(done.stdout)
    except ValueError:
        found = {"clean": False, "error": (done.stdout + done.stderr).strip()[-2000:]}
    found["exit"] = done.returncode
    (folder / "audit.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found
