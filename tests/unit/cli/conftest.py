"""The scripted servers run in a thread, so that commands run as in a shell, with an event loop of their own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from tests.unit.cli.fakes import Answer, FakeAlertmanager, FakeGateway, FakeKubernetes, Post


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, answer: Answer) -> None:
        status, content = answer
        if status == 0:
            self.close_connection = True
            return
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def fake_gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()

    class Webhooks(Handler):
        def do_GET(self) -> None:
            self.reply(fake.tell(self.path, dict(self.headers)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(fake.answer(Post(time.monotonic(), self.path, dict(self.headers), body)))

    with serving(Webhooks) as url:
        fake.url = url
        yield fake


@pytest.fixture
def fake_kubernetes(tmp_path: Path) -> Iterator[FakeKubernetes]:
    fake = FakeKubernetes()

    class Lists(Handler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.reply(fake.answer(parts.path, dict(parse_qsl(parts.query))))

    with serving(Lists) as url:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        fake.kubeconfig, fake.url = str(path), url
        yield fake


@pytest.fixture
def fake_alertmanager() -> Iterator[FakeAlertmanager]:
    fake = FakeAlertmanager()

    class Lists(Handler):
        def do_GET(self) -> None:
            fake.tokens.add(self.headers.get("Authorization", ""))
            self.reply((200, fake.answer(urlsplit(self.path).path)))

    with serving(Lists) as url:
        fake.url = url
        yield fake
