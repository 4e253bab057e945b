"""One control plane for all workers of a test run, whichever of them needs it first.

An API server costs some 400 MB and seconds of both cores, so pytest's workers share one; tests keep apart by
namespaces. It must not end with the worker that happened to start it: a small process of its own holds it,

    python -m chaos.rig.shared FOLDER

and every worker holds a shared lock on a file in that folder as long as it lives. When the holder gets that lock for
itself, nobody is left, whatever ended them, and it ends too.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

from chaos.rig.api import Api
from chaos.rig.cluster import ADMIN_TOKEN, Cluster
from chaos.rig.processes import end_everything, lasting_pids
from chaos.rig.waiting import wait_until

_ROOT = Path(__file__).parents[2]


class SharedCluster:
    """A worker's share in the control plane of the run. `folder` is the same in all workers of one run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = -1
        self._holder: subprocess.Popen[bytes] | None = None

    @property
    def logs(self) -> list[Path]:
        """What its components write."""
        return sorted(self.folder.glob("*.log"))

    def join(self) -> Api:
        """The admin's access to the API server, which is started if this is the first to ask.

        Raises `RuntimeError` with the reason if it does not start.
        """
        # While a holder is ending it has the lock, and its folder is not to be trusted: this waits for that.
        self._lock = os.open(self.folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        ready, failed = self.folder / "ready", self.folder / "failed"
        with (self.folder / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not ready.exists() and not failed.exists():
                with (self.folder / "holder.log").open("ab") as log:
                    self._holder = subprocess.Popen(
                        [sys.executable, "-m", "chaos.rig.shared", str(self.folder)],
                        cwd=_ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                holder = self._holder
                lasting_pids.add(holder.pid)
                wait_until(
                    lambda: ready.exists() or failed.exists() or holder.poll() is not None,
                    "the shared control plane to start",
                    seconds=90,
                )
        if not ready.exists():
            log_text = (self.folder / "holder.log").read_text()
            raise RuntimeError(f"the shared control plane did not start:\n{log_text[-4000:]}")
        return Api(
            ready.read_text(),
            token=ADMIN_TOKEN,
            ca=self.folder / "certificates" / "apiserver.crt",
            kubeconfig=self.folder / "kubeconfig",
        )

    def leave(self) -> None:
        """Gives up the share; the last one out lets it end, and whoever started it waits for that."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._holder is not None:
            self._holder.wait()


def hold(folder: Path) -> None:
    """Starts the control plane, holds it while anybody shares it, and ends it."""
    cluster = Cluster(folder)
    with (folder / "users").open("w") as users:
        try:
            cluster.start()
            (folder / "ready").write_text(cluster.url)
            while not _nobody_left(users.fileno()):
                time.sleep(0.5)
        except Exception:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            traceback.print_exc()
            (folder / "failed").touch()
        finally:
            cluster.stop()
            end_everything()
            (folder / "ready").unlink(missing_ok=True)


def _nobody_left(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
