"""The command line as people and scripts call it: as a process, judged by what it prints and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OK, FINDING, USAGE, UNREACHABLE = 0, 1, 2, 3
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "gateway")


def environment() -> dict[str, str]:
    """This process's environment without settings of a gateway, and with the program found from any folder."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    return {**inherited, "PYTHONPATH": str(ROOT)}


def gateway(
    *arguments: str, folder: Path | None = None, seconds: float = 60, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; in `folder`, or in the root of the tree; `env` is added to its environment."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=folder or ROOT,
        env=environment() | dict(env or {}),
    )


def printed(done: subprocess.CompletedProcess[str], expected: int = OK) -> Any:
    """What a command printed as JSON, once it ended as expected."""
    assert done.returncode == expected, done.stdout + done.stderr
    return json.loads(done.stdout)
