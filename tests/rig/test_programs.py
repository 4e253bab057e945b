"""Programs that tests run by themselves are the real ones, and do something."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chaos.rig.processes import Process

_PAGE = b"""<!doctype html><title>page</title><p id="it">unmade</p>
<script>document.getElementById("it").textContent = "made by " + [1, 2, 3].map(n => n * 2).join("-")</script>"""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(_PAGE)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing on stderr."""


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a page whose text a script makes."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_chromium_runs_the_script_of_a_page(chromium: Path, page: str, tmp_path: Path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    browser = Process("chromium", [chromium, *flags, "--dump-dom", page], folder=tmp_path)
    browser.start()
    assert browser.wait(seconds=120) == 0
    assert '<p id="it">made by 2-4-6</p>' in browser.log()


def test_helm_renders_a_chart_for_the_kubernetes_of_the_rig(helm: Path, tmp_path: Path) -> None:
    env = {**os.environ, **{f"HELM_{what}_HOME": str(tmp_path) for what in ("CACHE", "CONFIG", "DATA")}}
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: chart\nversion: 0.1.0\n")
    (chart / "templates" / "it.yaml").write_text("version: {{ .Capabilities.KubeVersion.Version }}\n")
    done = subprocess.run(
        [helm, "template", "it", chart], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "version: v1.34" in done.stdout
