"""The page and its files: from a package whose code never runs, under a policy that allows nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.unit.web.harness import Service

LOOK = """\
import sys
from gateway.web.api import serving
names = [name for name in serving._MEDIA if name not in serving._OURS]
assert all(serving._theirs(name) for name in names) and len(names) == 3
print(sorted({"flask", "flask_swagger_ui", "werkzeug", "jinja2"} & set(sys.modules)))
"""


def test_neither_the_package_nor_what_it_needs_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_it_is_a_swagger_ui_that_knows_openapi_3_1(service: Service) -> None:
    assert int(version("flask-swagger-ui").partition(".")[0]) >= 5
    script = (await service.ask("GET", "/docs/swagger-ui-bundle.js")).body
    assert script.startswith(b"/*! For license information")
    assert version("flask-swagger-ui").encode() in script


async def test_the_page_has_no_inline_code_and_names_only_files_of_ours(service: Service) -> None:
    reply = await service.ask("GET", "/docs")
    page = reply.body.decode()
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r"<script>|<style|style=|\son\w+=", page) == []
    names = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(names) == 5
    for name in names:
        assert (await service.ask("GET", name)).status == 200
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


@pytest.mark.parametrize(
    "name", ["index.html", "%2e%2e%2fdocs.html", "docs.html", "swagger-ui.css%00", "__init__.py"]
)
async def test_no_other_file_is_served(service: Service, name: str) -> None:
    reply = await service.ask("GET", f"/docs/{name}")
    assert (reply.status, reply.json["reason"]) == (404, "not_found")
