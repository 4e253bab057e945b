"""The rig's balancer hands each connection to the next replica, and passes by one that is not there."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chaos.rig.balancer import Balancer
from chaos.rig.ports import free_port

LONG = 3_000_000
"""Bytes of an answer: more than any buffer on the way."""


class _Named(BaseHTTPRequestHandler):
    """Tells its port, and as much more as it is asked for."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        said = f"{self.connection.getsockname()[1]} ".encode() + asked
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing on stderr."""


@pytest.fixture
def servers() -> Iterator[list[int]]:
    """The ports of two that tell theirs."""
    several = [ThreadingHTTPServer(("127.0.0.1", 0), _Named) for _ in range(2)]
    threads = [threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}) for one in several]
    for thread in threads:
        thread.start()
    yield [one.server_address[1] for one in several]
    for one, thread in zip(several, threads, strict=True):
        one.shutdown()
        one.server_close()
        thread.join()


def asked(balancer: Balancer, content: bytes = b"") -> tuple[int, bytes]:
    """Who answered, on a connection of its own, and what it was sent."""
    with urllib.request.urlopen(balancer.url, content, timeout=10) as answer:
        port, _, rest = answer.read().partition(b" ")
    return int(port), rest


def test_connections_go_round_and_long_bodies_come_back_whole(servers: list[int], tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, servers)
    balancer.start()
    try:
        assert [asked(balancer)[0] for _ in range(4)] == servers * 2
        content = bytes(range(256)) * (LONG // 256)
        assert asked(balancer, content)[1] == content
    finally:
        balancer.kill()


def test_a_replica_that_is_not_there_is_passed_by(servers: list[int], tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, [servers[0], free_port()])
    balancer.start()
    try:
        assert [asked(balancer)[0] for _ in range(3)] == [servers[0]] * 3
    finally:
        balancer.kill()
