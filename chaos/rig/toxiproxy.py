"""Toxiproxy: TCP connections that are slow, stuck, cut, before Redis or anything else.

It knows bytes, not HTTP: answers of a chosen status, and answers lost after the write, are the fault proxy's trade.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from chaos.rig import tools
from chaos.rig.asking import answers, ask_json
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

Kind = Literal["latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data"]
Stream = Literal["upstream", "downstream"]
"""Which half of the connection: to the upstream (requests), or from it (answers)."""


class Proxy:
    """One proxied address. `address` is where it listens, `host:port`."""

    def __init__(self, control: str, name: str, address: str, upstream: str) -> None:
        self.name = name
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self.upstream = upstream
        self._url = f"{control}/proxies/{name}"

    def add(
        self,
        kind: Kind,
        *,
        stream: Stream = "downstream",
        toxicity: float = 1.0,
        name: str | None = None,
        **attributes: int,
    ) -> str:
        """Adds a toxic to open and new connections and returns its name, `kind_stream` unless one is given.

        Attributes, in ms and bytes: latency: `latency`, `jitter`. bandwidth: `rate` (KB/s). slow_close: `delay`.
        timeout: `timeout` (0: never closes, all data are lost). reset_peer: `timeout`. slicer: `average_size`,
        `size_variation`, `delay` (µs). limit_data: `bytes`. `toxicity` is the share of connections that get it.

        A reset comes with the first data, and only to connections opened after this; older ones are closed in order.
        """
        toxic = {
            "name": name or f"{kind}_{stream}",
            "type": kind,
            "stream": stream,
            "toxicity": toxicity,
            "attributes": attributes,
        }
        return str(ask_json("POST", f"{self._url}/toxics", toxic)["name"])

    def remove(self, name: str) -> None:
        """Takes a toxic away; connections stay open."""
        ask_json("DELETE", f"{self._url}/toxics/{name}")

    def clear(self) -> None:
        """Takes all toxics away."""
        for toxic in self.toxics():
            self.remove(toxic["name"])

    def toxics(self) -> list[dict[str, Any]]:
        """Those in force."""
        found: list[dict[str, Any]] = ask_json("GET", f"{self._url}/toxics")
        return found

    def disable(self) -> None:
        """Closes its connections and its port: the upstream is gone."""
        ask_json("POST", self._url, {"enabled": False})

    def enable(self) -> None:
        """Listens again, on the same port."""
        ask_json("POST", self._url, {"enabled": True})


class Toxiproxy(Process):
    """The server of any number of proxies. They end with it, toxics and all."""

    def __init__(self, folder: Path, *, name: str = "toxiproxy") -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._proxies = 0
        command: list[str | Path] = [tools.find("toxiproxy"), "-host", "127.0.0.1", "-port", str(port)]
        super().__init__(name, command, folder=folder)

    def start(self, *, seconds: float = 30.0) -> None:
        """Starts it, without proxies, and waits until it answers."""
        super().start()
        self.until(lambda: answers(f"{self.url}/version"), seconds=seconds)

    def proxy(self, upstream: str | int, *, name: str | None = None) -> Proxy:
        """A new proxy before `host:port`, or before a port of loopback; it listens when this returns."""
        self._proxies += 1
        made = {
            "name": name or f"proxy{self._proxies}",
            "listen": f"127.0.0.1:{free_port()}",
            "upstream": f"127.0.0.1:{upstream}" if isinstance(upstream, int) else upstream,
            "enabled": True,
        }
        told = ask_json("POST", f"{self.url}/proxies", made)
        return Proxy(self.url, told["name"], told["listen"], told["upstream"])
