"""Child processes that never outlive their parent, and the ports they listen on.

On Linux the kernel is asked to kill the child when the thread that started it ends, however that comes about, so that
even a `kill -9` of this process leaves nothing behind. Elsewhere only an orderly stop ends the child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """What to run in the child between fork and exec, None where the system offers nothing of the kind."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded here: after the fork only system calls are safe
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_kernel


def free_port() -> int:
    """A loopback port that was free a moment ago; whoever binds it must be ready to try again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
