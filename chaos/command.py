"""The gateway's own command line, as anybody types it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path


async def run(*arguments: str, seconds: float = 180) -> subprocess.CompletedProcess[str]:
    """`gateway …`, with what it printed. Raises `subprocess.TimeoutExpired` after so many seconds."""
    command = [sys.executable, "-m", "gateway", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=seconds, check=False
    )


async def audit(log: Path, kubeconfig: Path | None) -> str:
    """What `gateway audit` has to say about a log of what was sent; empty where all adds up."""
    where = [] if kubeconfig is None else ["--kubeconfig", str(kubeconfig)]
    done = await run("audit", "--sent", str(log), "--wait", "30s", *where)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()
