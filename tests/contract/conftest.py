"""The two Kubernetes APIs that must answer alike: the embedded one, and a real kube-apiserver."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from chaos.rig.api import Api
from gateway.dev.kubernetes import EmbeddedKubernetes


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The embedded API on a loop of its own, without the controller that a lone API server lacks, too."""
    started: list[EmbeddedKubernetes] = []
    ready, finish = threading.Event(), threading.Event()

    async def serve() -> None:
        async with EmbeddedKubernetes(namespace_grace=None, bookmark_interval=0.5) as kubernetes:
            started.append(kubernetes)
            ready.set()
            await asyncio.to_thread(finish.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    kubeconfig = started[0].write_kubeconfig(tmp_path_factory.mktemp("embedded") / "kubeconfig")
    yield Api(started[0].url, token="", ca=None, kubeconfig=kubeconfig)
    finish.set()
    thread.join()


@pytest.fixture(params=["embedded", "real"])
def api(request: pytest.FixtureRequest) -> Api:
    """Each of the two, one after the other."""
    found: Api = request.getfixturevalue("embedded" if request.param == "embedded" else "cluster")
    return found


@pytest.fixture
def home(api: Api) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"contract-{os.urandom(4).hex()}"
    api.create_namespace(name)
    yield name
    api.remove_namespace(name)
