"""Locust's processes: a master, which follows the shape, and workers, which send."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from chaos.load.machine import ROOT
from chaos.load.plan import BEGAN, VARIABLE, Plan
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
CONNECT = 60
"""Seconds for the workers to find the master."""


class Locusts:
    """Sends what a plan says, once. Its reports are in the plan's folder, its logs in `logs` below that."""

    def __init__(self, plan: Plan) -> None:
        self._folder = Path(plan.folder).absolute()
        self._logs = self._folder / "logs"
        self._plan = self._folder / "plan.json"
        plan.write(self._plan)
        port = str(free_port())
        self.master = self._process(
            "locust-master",
            *("--headless", "--master", "--master-bind-host=127.0.0.1", "--master-bind-port", port),
            *("--expect-workers", str(plan.workers), "--expect-workers-max-wait", str(CONNECT)),
            *("--html", str(self._folder / "locust.html"), "--csv", str(self._folder / "locust")),
            # What was answered is judged by us, and not by the exit code.
            *("--only-summary", "--exit-code-on-error=0"),
        )
        self.workers = [
            self._process(
                f"locust-worker{number}", "--worker", "--master-host=127.0.0.1", "--master-port", port
            )
            for number in range(plan.workers)
        ]

    def start(self) -> None:
        """Starts them; returns at once."""
        for one in (self.master, *self.workers):
            one.start()

    def began(self) -> float | None:
        """The wall time that the turns count from, None as long as there is none."""
        path = self._folder / BEGAN
        return float(json.loads(path.read_text())) if path.exists() else None

    @property
    def alive(self) -> bool:
        """Whether it is at work: the master goes last, and with a worker that is gone nothing will be whole."""
        return self.master.alive and all(one.alive or one.returncode == 0 for one in self.workers)

    def failed(self) -> list[str]:
        """Those that ended otherwise than well, with the end of their logs."""
        return [
            f"{one.name} ended with {one.returncode}: {one.tail(5)}"
            for one in (self.master, *self.workers)
            if one.returncode != 0
        ]

    def stop(self) -> None:
        """Ends what is left of them."""
        for one in (*self.workers, self.master):
            one.kill()

    def _process(self, name: str, *arguments: str) -> Process:
        inherited = {key: found for key, found in os.environ.items() if not key.startswith("LOCUST_")}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return Process(
            name,
            [sys.executable, "-m", "locust", "-f", LOCUSTFILE, *arguments],
            folder=self._logs,
            env={**inherited, "PYTHONPATH": path, VARIABLE: str(self._plan)},
            # Locust reads settings from the files of certain names where it is started.
            cwd=self._logs,
        )
