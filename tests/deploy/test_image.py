"""The image, as far as it can be looked at without a container engine.

What installs it, `deploy/install.sh`, runs in `.ci/run` with the source distribution.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from tests.deploy.charts import ROOT, Chart, pod, values
from tests.deploy.dockerfiles import Context, Stage, stages
from tests.integration.sight import adds_up, fires, send_one, settled
from tests.rig.fixtures import StartGateway

PINNED = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
UNTOLD = """
import atexit, os, sys
told = os.open(os.environ["WRITES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
changing = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}

def hook(event, arguments):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes or event in changing) and arguments[0] not in ("/dev/null", told):
        os.write(told, f"{event} {arguments}\\n".encode())

sys.addaudithook(hook)
"""
"""Runs before the program, and notes every file that Python writes or changes."""


@pytest.fixture(scope="module")
def build() -> Stage:
    return _stages()[0]


@pytest.fixture(scope="module")
def final() -> Stage:
    return _stages()[1]


def _stages() -> tuple[Stage, Stage]:
    first, last = stages((ROOT / "deploy" / "Dockerfile").read_text())
    return first, last


def test_both_stages_begin_with_the_same_pinned_base(build: Stage, final: Stage) -> None:
    assert PINNED.fullmatch(build.base)
    assert build.base == final.base


def test_the_last_stage_holds_no_build_tools_and_runs_as_nobody(build: Stage, final: Stage) -> None:
    assert final.all("COPY") == ["--from=build /opt/gateway /opt/gateway"]
    assert build.name == "build"
    assert final.all("ADD") == []
    uninstall, folder = final.all("RUN")
    assert '"uninstall"' in uninstall
    assert uninstall.endswith('"pip"]')
    assert folder.startswith('["install", "--directory", "--owner=65532"')
    assert final.one("USER") == "65532:65532"
    words = [word for word, _ in final.instructions]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word == "RUN")


def test_a_wheel_built_from_what_is_copied_is_the_one_of_the_tree(build: Stage, tmp_path: Path) -> None:
    context = Context(ROOT)
    source = tmp_path / "source"
    for copy in build.all("COPY"):
        *sources, target = copy.split()
        for name in sources:
            files = context.files(name)
            assert files, name
            for file in files:
                # COPY takes what is in a folder, and not the folder itself; each of ours goes where it was.
                inside = file.relative_to(ROOT / name) if (ROOT / name).is_dir() else Path(file.name)
                place = source / target / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)
    assert (source / build.one("RUN").split('"')[3]).is_file()
    assert members(source, tmp_path / "copied") == members(ROOT, tmp_path / "tree")
    for lock in ("requirements.lock", "requirements-build.lock"):
        assert (source / lock).read_bytes() == (ROOT / lock).read_bytes()


def members(tree: Path, folder: Path) -> dict[str, int]:
    """The files of the wheel that a tree makes, with their checksums."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return {one.filename: one.CRC for one in opened.infolist()}


def test_what_is_sent_to_the_builder_is_what_images_copy() -> None:
    context = Context(ROOT)
    copied: set[Path] = set()
    for file in (ROOT / "deploy" / "Dockerfile", ROOT / "chaos" / "Dockerfile"):
        for stage in stages(file.read_text()):
            for copy in stage.all("COPY"):
                for name in copy.split()[:-1]:
                    if not copy.startswith("--from"):
                        taken = context.files(name)
                        assert taken, name
                        copied.update(taken)
    assert not context.holds(ROOT / "gateway" / "__pycache__" / "app.cpython-311.pyc")
    assert not context.holds(ROOT / ".venv" / "bin" / "python")
    for folder in ("chaos", "deploy", "docs", "gateway", "rig", "scripts", "tests/deploy"):
        sent = {file for file in (ROOT / folder).rglob("*") if file.is_file() and context.holds(file)}
        assert sent <= copied


def test_its_command_is_the_gateways_and_the_chart_adds_arguments_that_it_knows(
    final: Stage, helm: Path
) -> None:
    assert final.command("ENTRYPOINT") == ["gateway"]
    assert "/opt/gateway/bin" in final.one("ENV")
    container = pod(Chart(helm).objects(values("least")))["containers"][0]
    assert "command" not in container
    for arguments in (final.command("CMD"), container["args"]):
        program = Path(sys.executable).with_name("gateway")
        done = subprocess.run(
            [program, *arguments, "--help"], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
    ports = {str(one["containerPort"]) for one in container["ports"]}
    assert set(final.one("EXPOSE").split()) == ports
    assert container["securityContext"]["readOnlyRootFilesystem"]


async def test_a_gateway_writes_no_file(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(UNTOLD)
    writes = tmp_path / "writes"
    env = {"PYTHONPATH": str(tmp_path), "WRITES": str(writes), "PYTHONDONTWRITEBYTECODE": "1"}
    gateway = start_gateway(redis=redis_server, cluster=cluster, env=env)
    send_one(gateway, fires(namespace))
    await adds_up(cluster, namespace, [1])
    await settled(gateway)
    gateway.terminate()
    assert writes.read_text() == ""
