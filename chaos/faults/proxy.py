"""An HTTPS reverse proxy before a Kubernetes API, which answers, delays, loses and silences what its rules choose.

    async with FaultProxy(Upstream.read(path)) as proxy:
        proxy.kubeconfig(other)                       # the same access, through the proxy
        proxy.rules = [Rule(Fault.ANSWER_LOST, share=0.2, write=True)]
        ...
        assert proxy.count(Fault.ANSWER_LOST) > 0

As a program it is steered over HTTP (see `control`):

    python -m chaos.faults.proxy --kubeconfig ~/.kube/config --write-kubeconfig proxied

Requests that no rule chooses pass unchanged, streamed both ways, never sent twice. Where the API itself cannot be
reached, the client's connection is reset, which is what it would have seen. Requests to upgrade the connection (exec,
port-forward) pass as plain ones, which the API refuses.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import yaml
from aiohttp import web

from chaos.faults.answers import Answer, injected
from chaos.faults.asked import Asked
from chaos.faults.certificates import issue
from chaos.faults.control import Control
from chaos.faults.forwarding import (
    LONGEST_LINE,
    Forwarder,
    UpstreamLost,
    body_of,
    end_to_end,
    pieces,
    whole,
)
from chaos.faults.rules import Armed, Fault, Rule, rules_from_json
from chaos.faults.upstream import UnusableKubeconfig, Upstream, load_certificate

_ANSWERED = {Fault.THROTTLED, Fault.ERROR, Fault.UNAVAILABLE, Fault.CONFLICT}
_IDLE_SECONDS = 120.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Watch:
    """An open watch. While `flowing` is clear nothing of it reaches the client, and little is read from the API."""

    asked: Asked
    request: web.BaseRequest
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    cut: asyncio.TimerHandle | None = None


class FaultProxy:
    """The proxy. It serves between entry and exit of `async with`; exit ends every connection at once.

    `rules` may be replaced at any time; requests that have met their fault keep it, and open watches come under the
    new rules. `seed` decides the draws: it counts from the start for each new list of rules. Port 0 takes a free one.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        rules: Iterable[Rule] = (),
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.upstream = upstream
        self._host, self._port = host, port
        self._seed = seed
        self._armed = Armed(rules, seed)
        self._counts: Counter[str] = Counter()
        self._watches: dict[_Watch, None] = {}
        self._performing: set[asyncio.Task[Answer]] = set()
        self._issued = issue(list(dict.fromkeys([host, "127.0.0.1", "localhost"])))
        self._forwarder: Forwarder | None = None
        self._server: web.Server | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where clients find it, once it serves."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{self._port}"

    @property
    def ca(self) -> str:
        """The authority of its certificate, in PEM."""
        return self._issued.authority

    def kubeconfig(self, path: Path) -> Path:
        """Writes a kubeconfig with the upstream's access through the proxy, readable by its owner only."""
        content = yaml.safe_dump(self.upstream.kubeconfig(self.url, self.ca), sort_keys=False)
        # Whoever waits for the file must find it whole.
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.touch(mode=0o600)
        unfinished.write_text(content, encoding="utf-8")
        return unfinished.replace(path)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force."""
        return self._armed.rules

    @rules.setter
    def rules(self, rules: Iterable[Rule]) -> None:
        self.arm(rules)

    def arm(self, rules: Iterable[Rule], *, seed: int | None = None) -> None:
        """Replaces the rules, and the seed if one is given."""
        self._seed = self._seed if seed is None else seed
        self._armed = Armed(rules, self._seed)
        for watch in list(self._watches):
            self._lay(watch)

    def count(self, what: str) -> int:
        """How often a fault (its word) was done; also `requests`, `forwarded`, `upstream lost`."""
        return self._counts[what]

    def counts(self) -> dict[str, int]:
        """All counters that are not 0, since the start, and `open watches` as of now."""
        done = {str(what): number for what, number in self._counts.items() if number}
        return {**done, "open watches": len(self._watches)}

    def cut_watches(self) -> int:
        """Resets the connections of all open watches, once; says how many."""
        watches = list(self._watches)
        for watch in watches:
            self._cut(watch)
        return len(watches)

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        load_certificate(context, self._issued.certificate, self._issued.key)
        context.set_alpn_protocols(["http/1.1"])
        self._forwarder = Forwarder(self.upstream)
        self._server = web.Server(
            self._handle,
            # A client that has given up ends what is done for it.
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=1)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, ssl_context=context).start()
        except BaseException:
            await self._close()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        assert self._runner is not None
        assert self._forwarder is not None
        for site in list(self._runner.sites):
            await site.stop()
        for connection in self._server.connections if self._server else ():
            if connection.transport is not None:
                connection.transport.abort()
        for task in self._performing:
            task.cancel()
        await asyncio.gather(*self._performing, return_exceptions=True)
        await self._runner.cleanup()
        await self._forwarder.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = Asked.of(request.method, request.raw_path)
        self._counts["requests"] += 1
        decision = self._armed.decide(asked)
        self._counts[Fault.DELAY] += decision.delays
        if "100-continue" in request.headers.get("Expect", "").lower():
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if decision.rule is not None:
                return await self._meet(decision.rule, request, asked, wait=decision.wait)
            await asyncio.sleep(decision.wait)
            return await self._pass(request, asked)
        except UpstreamLost:
            self._counts["upstream lost"] += 1
            return _reset(request)
        except ConnectionError:  # the client has gone while it was written to
            return _reset(request)

    async def _meet(
        self, rule: Rule, request: web.BaseRequest, asked: Asked, *, wait: float
    ) -> web.StreamResponse:
        """Does a fault. It is counted when it is done: the write of a lost answer is in the store by then."""
        fault = rule.fault
        if fault is Fault.LATE:
            self._counts[fault] += 1
            return _response(await self._perform(request, asked, wait=wait))
        await asyncio.sleep(wait)
        if fault in _ANSWERED:
            response = _response(injected(rule, asked, await request.read()))
            self._counts[fault] += 1
            return response
        if fault in {Fault.ANSWER_LOST, Fault.HANG}:
            await self._perform(request, asked)
        self._counts[fault] += 1
        if fault in {Fault.RESET, Fault.ANSWER_LOST}:
            return _reset(request)
        # Until the client goes, or the proxy.
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this future")

    @contextlib.asynccontextmanager
    async def _forward(
        self, request: web.BaseRequest, asked: Asked, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        assert self._forwarder is not None
        async with self._forwarder.forwarded(request, asked, body) as answer:
            self._counts["forwarded"] += 1
            yield answer

    async def _pass(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """Forwards a request and its answer piece by piece."""
        async with self._forward(request, asked, body_of(request)) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(end_to_end(answer.headers))
            if asked.watch and answer.status == 200:
                return await self._stream_watch(request, asked, answer, response)
            await response.prepare(request)
            async for piece in pieces(answer):
                await response.write(piece)
        await response.write_eof()
        return response

    async def _stream_watch(
        self,
        request: web.BaseRequest,
        asked: Asked,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
    ) -> web.StreamResponse:
        watch = _Watch(asked, request)
        self._watches[watch] = None
        try:
            self._lay(watch)
            await response.prepare(request)
            async for piece in pieces(answer):
                await watch.flowing.wait()
                await response.write(piece)
            await watch.flowing.wait()
        finally:
            del self._watches[watch]
            if watch.cut is not None:
                watch.cut.cancel()
        await response.write_eof()
        return response

    def _lay(self, watch: _Watch) -> None:
        """Brings a watch under the rules in force."""
        decision = self._armed.decide_watch(watch.asked)
        if watch.cut is not None:
            watch.cut.cancel()
            watch.cut = None
        if decision.frozen:
            self._counts[Fault.FREEZE] += 1
            watch.flowing.clear()
        else:
            watch.flowing.set()
        if decision.cut_after is not None:
            watch.cut = asyncio.get_running_loop().call_later(decision.cut_after, self._cut, watch)

    def _cut(self, watch: _Watch) -> None:
        self._counts[Fault.CUT] += 1
        _reset(watch.request)

    async def _perform(self, request: web.BaseRequest, asked: Asked, *, wait: float = 0.0) -> Answer:
        """Forwards a request as a whole after `wait` seconds, even if the client goes meanwhile; keeps the answer."""
        body = await request.read()

        async def perform() -> Answer:
            await asyncio.sleep(wait)
            async with self._forward(request, asked, whole(body)) as answer:
                kept = [] if asked.watch else [piece async for piece in pieces(answer)]
                return Answer(answer.status, end_to_end(answer.headers), b"".join(kept))

        task = asyncio.create_task(perform(), name=f"perform {asked.verb} {asked.path}")
        self._performing.add(task)
        task.add_done_callback(self._performed)
        return await asyncio.shield(task)

    def _performed(self, task: asyncio.Task[Answer]) -> None:
        self._performing.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, also where the client has gone


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    for name, value in answer.headers:
        if name.lower() == "content-type":  # the one that aiohttp gives every body
            response.headers[name] = value
        elif name.lower() != "content-length":
            response.headers.add(name, value)
    return response


def _reset(request: web.BaseRequest) -> web.Response:
    """Resets the client's connection. What it returns is for the server's machinery and reaches nobody."""
    transport = request.transport
    if transport is not None:
        peer = transport.get_extra_info("socket")
        if peer is not None:
            # A plain close would look like the end of an answer; this sends RST.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the proxy until SIGTERM or SIGINT. Prints one line of JSON, `url` and `control`, as soon as both serve."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos.faults.proxy",
        description="An HTTPS reverse proxy before a Kubernetes API that injects faults by rules.",
        epilog="The control port: GET, PUT and DELETE /rules, GET /counts, DELETE /watches. It asks nobody who they "
        "are, nor does the proxy where the kubeconfig has a client certificate: keep both on loopback.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of the API behind the proxy")
    parser.add_argument("--context", help="of the kubeconfig; default: its current one")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--control", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument(
        "--write-kubeconfig", type=Path, metavar="FILE", help="the same access, through the proxy"
    )
    parser.add_argument("--rules", type=Path, metavar="FILE", help="JSON: a list of rules to begin with")
    parser.add_argument("--seed", type=int, default=0, help="of the draws; default: 0")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except (UnusableKubeconfig, ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    rules = rules_from_json(json.loads(options.rules.read_text())) if options.rules else []
    host, port = options.listen
    upstream = Upstream.read(options.kubeconfig, options.context)
    async with (
        FaultProxy(upstream, rules=rules, seed=options.seed, host=host, port=port) as proxy,
        Control(proxy, *options.control) as control,
    ):
        if options.write_kubeconfig:
            proxy.kubeconfig(options.write_kubeconfig)
        sys.stdout.write(json.dumps({"url": proxy.url, "control": control.url}) + "\n")
        sys.stdout.flush()
        await stopped.wait()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


if __name__ == "__main__":
    sys.exit(main())
