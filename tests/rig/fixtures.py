"""The pytest plugin of the rig: a fixture for each component, its logs where a test fails, and an end to everything.

    redis_server    a Redis of this worker, emptied before each test that uses it
    start_redis     starts a private one: for tests that kill, fill or configure it
    control_plane   the same as `cluster`, without the project's CRD
    cluster         the API of a real control plane, shared by the whole run: keep to a namespace and to fingerprints
                    of your own
    namespace       a fresh namespace in it
    start_cluster   starts a private control plane: for tests that kill it or look at all of its objects
    start_fault_proxy   starts a proxy before a control plane that injects faults by rules
    start_gateway   starts a gateway process

Private components end with their test, newest first. When a test fails, the end of each component's log goes into
the report, and whole logs into `results/logs/`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.rig import processes, tools
from tests.rig.api import Api
from tests.rig.cluster import Cluster
from tests.rig.fault_proxy import FaultProxyProcess, Rules
from tests.rig.gateway_process import GatewayProcess, Wait
from tests.rig.redis_server import RedisServer, Source
from tests.rig.shared import SharedCluster

_MISSING = "MISSING COMPONENT: "
_logs = pytest.StashKey[dict[Path, int]]()
"""On an item: the logs that may tell about it, and how long each was when the test began."""
_shared: list[SharedCluster] = []


def require(name: str, source: str = "any") -> Path:
    """The program of a component; without it the test is skipped, in capitals, and where `CI` is set it fails."""
    try:
        return tools.find(name, source)
    except tools.ToolMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"{_MISSING}{error}", pytrace=False)
        pytest.skip(f"{_MISSING}{error}")


@pytest.fixture(scope="session")
def _redis_of_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    require("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"), name="redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(_redis_of_worker: RedisServer) -> RedisServer:
    """A Redis of this worker, empty. Leave it running and configured as it is; `start_redis` gives one to maltreat."""
    _redis_of_worker.clean()
    return _redis_of_worker


class StartRedis(Protocol):
    """Starts a Redis that ends with the test; see `RedisServer`."""

    def __call__(
        self,
        *,
        name: str = "redis",
        source: Source = "any",
        options: Mapping[str, str] | None = None,
        keep: bool = False,
    ) -> RedisServer: ...


@pytest.fixture
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartRedis]:
    """Starts private Redis servers, which the test may kill, pause, fill and configure."""
    started: list[RedisServer] = []

    def start(
        *,
        name: str = "redis",
        source: Source = "any",
        options: Mapping[str, str] | None = None,
        keep: bool = False,
    ) -> RedisServer:
        require("redis-server", source)
        folder = tmp_path_factory.mktemp("redis")
        server = RedisServer(folder, name=name, source=source, options=options, keep=keep)
        started.append(server)
        server.start()
        return server

    yield start
    for server in reversed(started):
        server.kill()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Iterator[Api]:
    """The shared control plane as it comes, without the project's CRD."""
    require("etcd")
    require("kube-apiserver")
    base = tmp_path_factory.getbasetemp()
    # Each of xdist's workers has a folder below the run's; without workers the run's is ours.
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    shared = SharedCluster(run / "shared-cluster")
    _shared.append(shared)
    try:
        yield shared.join()
    finally:
        shared.leave()
        _shared.remove(shared)


@pytest.fixture
def cluster(control_plane: Api) -> Api:
    """The admin's access to the control plane of this run, with the project's CRD served."""
    control_plane.install_crd()
    return control_plane


@pytest.fixture
def namespace(cluster: Api) -> Iterator[str]:
    """A new namespace of the shared control plane; it and the requests in it go with the test."""
    name = f"test-{os.urandom(5).hex()}"
    cluster.create_namespace(name)
    yield name
    cluster.remove_namespace(name)


@pytest.fixture
def start_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Cluster]]:
    """Starts private control planes (some 3 s each), with the project's CRD served."""
    started: list[Cluster] = []

    def start() -> Cluster:
        require("etcd")
        require("kube-apiserver")
        plane = Cluster(tmp_path_factory.mktemp("cluster"), name=f"cluster{len(started) + 1}")
        started.append(plane)
        plane.start()
        plane.api.install_crd()
        return plane

    yield start
    for plane in reversed(started):
        plane.stop()


class StartFaultProxy(Protocol):
    """Starts a fault proxy that ends with the test; see `FaultProxyProcess`."""

    def __call__(
        self,
        cluster: Api | Cluster | Path,
        rules: Rules = (),
        *,
        seed: int = 0,
        name: str | None = None,
    ) -> FaultProxyProcess: ...


@pytest.fixture
def start_fault_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartFaultProxy]:
    """Starts fault proxies before a cluster, or before the API of a kubeconfig.

    A gateway goes through one if that is its cluster: `start_gateway(redis=..., cluster=proxy)`.
    """
    started: list[FaultProxyProcess] = []

    def start(
        cluster: Api | Cluster | Path,
        rules: Rules = (),
        *,
        seed: int = 0,
        name: str | None = None,
    ) -> FaultProxyProcess:
        proxy = FaultProxyProcess(
            tmp_path_factory.mktemp("fault-proxy"),
            kubeconfig=cluster if isinstance(cluster, Path) else cluster.kubeconfig,
            name=name or f"fault-proxy{len(started) + 1}",
            seed=seed,
        )
        started.append(proxy)
        proxy.start()
        proxy.set_rules(rules)
        return proxy

    yield start
    for proxy in reversed(started):
        proxy.kill()


class StartGateway(Protocol):
    """Starts a gateway that ends with the test; see `GatewayProcess`."""

    def __call__(
        self,
        *,
        redis: RedisServer | str | None = None,
        cluster: Api | Cluster | FaultProxyProcess | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        sets: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        wait: Wait | None = "ready",
        seconds: float = 20.0,
    ) -> GatewayProcess: ...


@pytest.fixture
def start_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGateway]:
    """Starts gateway processes: replicas, if they are given the same Redis and cluster.

    `redis` and `cluster` may be components of the rig or a URL and a kubeconfig of anything else; with `wait=None`
    the gateway is made, but not started (`await gateway.start_async()` does that beside a running event loop).
    """
    started: list[GatewayProcess] = []

    def start(
        *,
        redis: RedisServer | str | None = None,
        cluster: Api | Cluster | FaultProxyProcess | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        sets: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        wait: Wait | None = "ready",
        seconds: float = 20.0,
    ) -> GatewayProcess:
        gateway = GatewayProcess(
            tmp_path_factory.mktemp("gateway"),
            name=name or f"gateway{len(started) + 1}",
            redis_url=redis.url if isinstance(redis, RedisServer) else redis,
            kubeconfig=cluster if isinstance(cluster, Path | None) else cluster.kubeconfig,
            settings=settings,
            sets=sets,
            env=env,
        )
        started.append(gateway)
        if wait is not None:
            gateway.start(wait=wait, seconds=seconds)
        return gateway

    yield start
    for gateway in reversed(started):
        gateway.kill()


def _log_files() -> list[Path]:
    return [process.log_path for process in processes.running] + [log for one in _shared for log in one.logs]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notes where the logs of running components stand."""
    item.stash[_logs] = {path: path.stat().st_size for path in _log_files() if path.exists()}
    processes.started_logs.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds what the components wrote during a failed test."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        before = item.stash.get(_logs, {})
        folder = item.config.rootpath / "results" / "logs" / re.sub(r"[^\w.-]+", "_", item.nodeid)[-150:]
        for path in dict.fromkeys([*_log_files(), *processes.started_logs]):
            if not path.exists():
                continue
            with path.open("rb") as log:
                log.seek(before.get(path, 0))
                written = log.read().decode(errors="replace")
            if written.strip():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / f"{path.parent.name}-{path.name}")
                tail = "\n".join(written.splitlines()[-40:])
                report.sections.append((f"log of {path.stem} (whole in {folder})", tail))
    return report  # type: ignore[return-value]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """The end of everything that fixtures did not end."""
    processes.end_everything()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in capitals which components were missing, so that a green run is never taken for more than it is."""
    reasons: dict[str, int] = {}
    for outcome in ("skipped", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if found := re.search(rf"{_MISSING}[^'\"\n)]*", str(report.longrepr)):
                reasons[found[0]] = reasons.get(found[0], 0) + 1
    if reasons:
        terminalreporter.section("NOT EVERYTHING WAS TESTED", red=True, bold=True)
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{reason.upper()}: {count} TEST(S) DID NOT RUN", red=True)
