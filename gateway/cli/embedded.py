"""Everything in one process, for `gateway dev` and `gateway demo`: Redis, a Kubernetes API, and the gateway on them.

Ports are the usual ones (`server.port`, `server.metrics_port`) where they are free, else any that are.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import arguments, output
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config.settings import Settings

SHORT = 2.0
"""Seconds that windows last here, unless they are configured: whoever tries it out should not wait for a minute."""


@dataclass(frozen=True)
class Embedded:
    """A gateway that runs in this process, with everything that it needs."""

    url: str
    metrics_url: str
    kubeconfig: Path
    failed: asyncio.Event
    """Set when something ended that the gateway cannot do without."""
    settings: Settings
    """Those in force."""


@asynccontextmanager
async def embedded(args: argparse.Namespace, *overrides: str) -> AsyncIterator[Embedded]:
    """Start everything, and end it with the block, whatever happens in it.

    `overrides` are settings that the command wants; the `--set` values of the command line still win over them.
    Windows are short, unless their times are configured.
    From here on Ctrl-C and SIGTERM cancel the current task, so that nothing is left running.
    """
    wanted = arguments.load_settings(args)
    server = wanted.server
    port = free_port(server.host, server.port, "server.port")
    metrics_port = free_port(server.host, server.metrics_port, "server.metrics_port")
    from gateway.app import App
    from gateway.dev.cluster import EmbeddedCluster
    from gateway.telemetry import logs

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with EmbeddedCluster(label=wanted.classify.environment_label) as dependencies:
        source = arguments.source(
            args,
            f"redis.url={dependencies.redis_url}",
            f"kubernetes.kubeconfig={dependencies.kubeconfig}",
            f"server.port={port}",
            f"server.metrics_port={metrics_port}",
            *short_windows(wanted),
            *overrides,
        )
        settings = source.load()
        logs.configure(settings.log.level, settings.log.format)
        app = App(settings, source)
        await app.start()
        try:
            yield Embedded(
                app.url, f"{app.metrics_url}/metrics", dependencies.kubeconfig, app.failed, settings
            )
        finally:
            await app.stop()


def short_windows(wanted: Settings) -> list[str]:
    """Return the settings that make windows short, as far as nobody said how long they should be."""
    storm = wanted.storm
    seconds = min(SHORT, storm.max_window)
    unsaid = {"hold", "inactivity"} - storm.model_fields_set
    return [f"storm.{key}={round(1000 * seconds)}ms" for key in sorted(unsaid)]


async def until_interrupted(running: Embedded) -> None:
    """Return at the first Ctrl-C or SIGTERM; raise `GatewayError` if the gateway fails before that."""
    try:
        await running.failed.wait()
    except asyncio.CancelledError:
        # It was what this waited for: the block that everything runs in ends in order. The next one is not caught.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        output.say("Stopping.")
        return
    raise GatewayError("a background task ended that the gateway cannot do without; the log names it")


def print_addresses(running: Embedded) -> None:
    """Print where everything is."""
    output.say(f"  webhooks    {running.url}{arguments.WEBHOOK_PATH}")
    output.say(f"  status      {running.url}/ (a page), {running.url}/v1/status")
    output.say(f"  API         {running.url}/docs")
    output.say(f"  readiness   {running.url}/readyz")
    output.say(f"  metrics     {running.metrics_url}")
    output.say(f"  kubeconfig  {running.kubeconfig}")


def print_windows(running: Embedded) -> None:
    """Print how long a new problem waits for others, so that nobody wonders where its request is."""
    storm = running.settings.storm
    output.say(
        f"New problems are held for {storm.hold:g}s: {storm.threshold} or more of a group become one request, once no "
        f"further one came for {storm.inactivity:g}s."
    )
    if storm.hold <= SHORT:
        output.say(
            "(That is short, to be tried out; elsewhere the defaults of storm.hold and storm.inactivity, 60s.)"
        )


def print_next_steps(running: Embedded) -> None:
    """Print commands to try in another terminal; each can be run as it stands."""
    gateway = program()
    kubeconfig = shlex.quote(str(running.kubeconfig))
    sent = shlex.quote(str(running.kubeconfig.with_name("sent.jsonl")))
    storm = running.settings.storm
    wait = 30 + (round(longest) if (longest := max(storm.hold, storm.inactivity)) > SHORT else 0)
    url = "" if running.url == arguments.DEFAULT_URL else f" --url {running.url}"
    output.say("Try next, in another terminal in the same folder:")
    for what, *commands in (
        ("The requests, as operators see them:", f"kubectl --kubeconfig {kubeconfig} get rr -A"),
        ("What the gateway has queued and not confirmed yet:", f"curl -s {running.url}/v1/status"),
        ("The windows, as they open and close:", f"{gateway} storms{url}"),
        (
            "A storm, thirty pods of one deployment at once, which makes one request:",
            f"{gateway} send{url} --storm --alert-name PodOOMKilled --namespace prod-api",
        ),
        (
            "The same alert ten times, which makes one request with a count of 10:",
            f"{gateway} send{url} --count 10 --alert-name HighLatency --namespace prod-api",
        ),
        (
            "Many alerts, with a log of what was accepted, and the proof that each was counted once:",
            f"{gateway} send{url} --count 500 --distinct 20 --batch 10 --output {sent}",
            f"{gateway} audit --sent {sent} --kubeconfig {kubeconfig} --wait {wait}s",
        ),
    ):
        output.say()
        output.say(f"  {what}")
        for command in commands:
            output.say(f"    {command}")
    if shutil.which("kubectl") is None:
        output.say()
        output.say("  (kubectl is not on PATH here; any version that knows Kubernetes 1.34 will do.)")


def program() -> str:
    """Return how this program can be called again from a shell in the same folder."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        # Run as a module: the script of the same environment is beside its interpreter.
        called = Path(sys.executable).with_name("gateway")
        if not called.exists():
            return f"{_from_here(Path(sys.executable))} -m gateway"
    on_path = shutil.which("gateway")
    if on_path is not None and Path(on_path).absolute() == called.absolute():
        return "gateway"
    return _from_here(called)


def _from_here(path: Path) -> str:
    absolute = path.absolute()
    here = Path.cwd()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))


def free_port(host: str, port: int, key: str) -> int:
    """Return `port` where it is free, else another one, and say so."""
    for candidate in (port, 0):
        with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if candidate != port:
            output.warn(f"port {port} ({key}) is taken; using {found}")
        return found
    return port
