"""A test that leaves something behind fails, says what, and shows the logs of the components that it used."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def _run(folder: Path, body: str) -> str:
    """Runs a test file with the project's own settings and returns what pytest printed."""
    path = folder / "test_sample.py"
    path.write_text(textwrap.dedent(body))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    command += [
        "-c",
        str(_ROOT / "pyproject.toml"),
        "--rootdir",
        str(folder),
        "--basetemp",
        str(folder / "base"),
    ]
    return subprocess.run(
        [*command, str(path)], cwd=_ROOT, capture_output=True, text=True, timeout=200, check=False
    ).stdout


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            """
            import asyncio
            async def test_it():
                asyncio.get_running_loop().kept = asyncio.create_task(asyncio.sleep(1000), name="forgotten")
            """,
            "tasks left behind: .*forgotten",
        ),
        (
            """
            import atexit, subprocess
            def test_it():
                kept = subprocess.Popen(["sleep", "1000"])
                atexit.register(kept.kill)
            """,
            "processes left behind: .*sleep 1000",
        ),
        (
            """
            import gc, socket
            def test_it():
                socket.socket()
                gc.collect()
            """,
            "ResourceWarning: unclosed <socket",
        ),
    ],
    ids=["task", "process", "socket"],
)
def test_what_a_test_leaves_behind_fails_it(tmp_path: Path, body: str, complaint: str) -> None:
    said = _run(tmp_path, body)
    assert "1 error" in said or "1 failed" in said, said
    assert re.search(complaint, said), said


def test_a_test_that_cleans_up_passes(tmp_path: Path) -> None:
    body = """
        import asyncio
        async def test_it():
            task = asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(0)
            task.cancel()
    """
    assert "1 passed" in _run(tmp_path, body)


def test_a_failed_test_shows_the_logs_of_its_components(tmp_path: Path) -> None:
    body = """
        def test_it(start_redis):
            start_redis(name="mine", options={"loglevel": "debug"})
            assert False
    """
    said = _run(tmp_path, body)
    assert "log of mine" in said
    assert "Ready to accept connections" in said
