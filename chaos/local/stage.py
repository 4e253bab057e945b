"""The components of one scenario on this machine, as processes; the control plane is the campaign's."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.faults.process import FaultProxyProcess
from chaos.rig.cluster import Cluster
from chaos.rig.fake_clock import FakeClock
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.sentinel import SentinelGroup
from chaos.rig.toxiproxy import Proxy, Toxiproxy
from chaos.scenario import Scenario
from chaos.sight import Target

GATEWAY = (sys.executable, "-m", "gateway")
TOKEN, ADMIN_TOKEN = "chaos-sender", "chaos-admin"


class Stage:
    """Made for one scenario. What a scenario does not need is None."""

    def __init__(
        self,
        scenario: Scenario,
        cluster: Cluster,
        folder: Path,
        *,
        full: bool,
        program: Sequence[str] = GATEWAY,
    ) -> None:
        """`program` is what runs as a gateway."""
        self.scenario = scenario
        self.cluster = cluster
        self.folder = folder
        self.redis: RedisServer | None = None
        self.sentinels: SentinelGroup | None = None
        self.toxiproxy: Toxiproxy | None = None
        self.link: Proxy | None = None
        """Between the gateways and Redis."""
        self.api: FaultProxyProcess | None = None
        self.redis_clock: FakeClock | None = None
        self.gateway_clock: FakeClock | None = None
        self.gateways: list[GatewayProcess] = []
        self.down: set[str] = set()
        """Names of processes that an injection has ended, for now."""
        self._started: list[Process | SentinelGroup] = []
        self._full = full
        self._program = program

    def start(self) -> None:
        """Starts everything, and waits until all of it is ready. Raises what the rig raises."""
        needs = self.scenario.needs
        redis_url = self._start_redis()
        if needs.redis_proxy:
            assert self.redis is not None
            self.toxiproxy = Toxiproxy(self.folder)
            self._own(self.toxiproxy).start()
            self.link = self.toxiproxy.proxy(self.redis.port)
            redis_url = f"redis://{self.link.address}/0"
        kubeconfig = self.cluster.kubeconfig
        if needs.api_proxy:
            self.api = FaultProxyProcess(self.folder, kubeconfig=kubeconfig)
            self._own(self.api).start()
            kubeconfig = self.api.kubeconfig
        if needs.faked_clock:
            self.gateway_clock = FakeClock(self._subfolder("gateway-clock"))
        if not needs.redis_at_start:
            assert self.redis is not None
            self.redis.kill()
            self.down.add(self.redis.name)
        settings = self.settings()
        for number in range(needs.gateways):
            last = number == needs.gateways - 1
            gateway = GatewayProcess(
                self.folder,
                name=f"gateway{number}",
                redis_url=redis_url,
                kubeconfig=kubeconfig,
                settings=settings,
                program=self._program,
                env=self.gateway_clock.env if self.gateway_clock and last else None,
            )
            self.gateways.append(gateway)
            self._own(gateway).start()

    def settings(self) -> dict[str, Any]:
        """The scenario's configuration, with files of senders where it names some."""
        found = self.scenario.settings(full=self._full)
        if self.scenario.needs.tokens:
            tokens, key = self.folder / "tokens", self.folder / "token.key"
            tokens.write_text(f"chaos:{TOKEN}\nadmin:{ADMIN_TOKEN}\n")
            key.write_text(secrets.token_hex(32))
            auth = found["auth"]
            found["auth"] = {**auth, "tokens_file": str(tokens), "jwt": {**auth["jwt"], "key_file": str(key)}}
        return found

    @property
    def targets(self) -> list[Target]:
        return [Target(one.name, one.url, one.metrics_url) for one in self.gateways]

    def stop(self) -> None:
        """Ends all of it, newest first: gateways as an operator stops them, the rest at once."""
        for one in reversed(self._started):
            if isinstance(one, GatewayProcess) and one.alive:
                with contextlib.suppress(TimeoutError):
                    one.terminate(seconds=10)
            one.kill()

    def fallen(self) -> list[str]:
        """Processes that have ended, though nothing here ended them."""
        processes = [one for one in self._started if isinstance(one, Process)]
        if self.sentinels is not None:
            processes += [*self.sentinels.servers, *self.sentinels.sentinels]
        processes += [self.cluster.etcd, self.cluster.server]
        return [one.name for one in processes if not one.alive and one.name not in self.down]

    def master(self) -> RedisServer:
        """The Redis that takes writes, as far as anybody knows."""
        if self.sentinels is not None:
            return self.sentinels.master()
        assert self.redis is not None
        return self.redis

    def logs(self) -> Sequence[str]:
        """The lines that the gateways have written."""
        return [line for one in self.gateways for line in one.log().splitlines()]

    def _start_redis(self) -> str:
        needs = self.scenario.needs
        if needs.redis == "sentinel":
            self.sentinels = SentinelGroup(self._subfolder("sentinel"), replicas=2)
            self._started.append(self.sentinels)
            self.sentinels.start()
            return self.sentinels.url
        faked = needs.redis == "faked clock"
        if faked:
            self.redis_clock = FakeClock(self._subfolder("redis-clock"))
        self.redis = RedisServer(
            self._subfolder("redis"),
            # Debian's Redis has a malloc of its own, with which libfaketime hangs.
            source="wheel" if faked else "any",
            env=self.redis_clock.env if self.redis_clock else None,
        )
        self._own(self.redis).start()
        return self.redis.url

    def _own(self, process: Process) -> Process:
        self._started.append(process)
        return process

    def _subfolder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
