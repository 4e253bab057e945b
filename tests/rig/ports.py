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


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, reserved for this process until it ends."""
    folder = Path(tempfile.gettempdir()) / f"alert-gateway-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for _ in range(1000):
        port = random.choice(_RANGE)
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held.append(lock)
        return port
    raise RuntimeError("no free port on loopback")
