"""Free ports that stay free: for processes that want to be told a port, and keep it over a restart.

Binding to port 0 and closing again leaves a gap in which a parallel run can be given the same number. So a port is
reserved by a lock on a file named after it, for as long as this process lives, and lies below the range from which
the kernel takes the local ends of outgoing connections.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE = range(20_000, 32_000)
_held: list[int] = []


def free_port(*, beside: int = 0) -> int:
    """A TCP port of loopback that nobody listens on, reserved for this process until it ends.

    With `beside`, so is the port that many numbers above it.
    """
    folder = Path(tempfile.gettempdir()) / f"alert-gateway-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(1000):
        highest = random.choice(_RANGE)
        locks: list[int] = []
        try:
            # Not at once: where the second is not free, the first is given back.
            locks.append(_reserved(folder, highest))
            if beside:
                locks.append(_reserved(folder, highest - beside))
        except OSError:
            for lock in locks:
                os.close(lock)
            continue
        _held.extend(locks)
        return highest - beside
    raise RuntimeError("no free port on loopback")


def _reserved(folder: Path, port: int) -> int:
    """The lock on a port; raises `OSError` where it is not free."""
    lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        os.close(lock)
        raise
    return lock
