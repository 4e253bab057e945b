"""`python -m chaos load`: the commands around campaigns."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp

from chaos.cluster.settings import Place
from chaos.load import ground, judging, proof
from chaos.load.ground import Ground
from chaos.load.machine import ROOT
from chaos.load.playing import BrokenOff, Campaign, Wish
from chaos.load.proof import command as report
from chaos.load.shapes import ALL, BY_NAME, Shape
from chaos.rig.processes import Died, end_everything
from chaos.rig.tools import ToolMissing

RESULTS = Path("results") / "load"


class Occupied(Exception):
    """Somebody else works in the same folder."""


REPORT = "report"
"""In the place of a campaign's name: write the report of some folders again."""
NAMESPACE = "load"

EPILOG = """\
Without --gateway it starts everything by itself on loopback: Redis, etcd, kube-apiserver, gateways. With it, any
gateway is loaded; what it needs there is in docs/load.md. Rates are webhooks a second, and exact: a gateway that
is slow is not spared. --scale shortens times, never rates.

examples:
  python -m chaos load                          all of them, one after another: some three hours
  python -m chaos load spike
  python -m chaos load soak --duration 30m
  python -m chaos load --scale 0.02             a minute or two, to see that all of it works
  python -m chaos load report results/load/spike   its report again, from what was measured
  python -m chaos load spike --gateway https://gateway.example --metrics http://gateway.example:9090 --token T

Exit code 0: every alert that was accepted was counted exactly, and the targets were met; 1: not; 2: wrong usage.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "load",
        help="play load campaigns",
        description="Play load campaigns on real components or on any gateway, and audit what comes of them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "campaigns", nargs="*", metavar="NAME", help="which ones; all without any, or with `all`"
    )
    parser.add_argument("--list", action="store_true", help="only name the campaigns")
    parser.add_argument(
        "--scale", type=_scale, default=1.0, metavar="F", help="shorten all times; default: 1"
    )
    parser.add_argument(
        "--duration", type=_duration, metavar="TIME", help="instead of the campaign's own: 30m"
    )
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of the mix; default: 7")
    parser.add_argument(
        "--workers", type=_positive, default=2, metavar="N", help="processes that send; default: 2"
    )
    parser.add_argument("--replicas", type=_positive, default=1, metavar="N", help="own gateways; default: 1")
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"default: {RESULTS}")
    given = parser.add_argument_group(
        "any gateway",
        "With --gateway, what is in brackets is read from the environment where no option says it. GATEWAY_URL never "
        "is: what is loaded has to be named (scripts/run-load-campaigns.sh names what GATEWAY_URL holds).",
    )
    given.add_argument("--gateway", action="append", metavar="URL", help="repeatable: one for each replica")
    given.add_argument(
        "--metrics",
        action="append",
        metavar="URL",
        help="… of each (GATEWAY_METRICS_URL); default: port 9090 there",
    )
    given.add_argument("--token", metavar="TOKEN", help="what a sender shows (GATEWAY_TOKEN)")
    given.add_argument("--admin-token", metavar="TOKEN", help="for faults (GATEWAY_ADMIN_TOKEN)")
    given.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="of its cluster, for the audit (KUBECONFIG)"
    )
    given.add_argument(
        "--namespace", default=NAMESPACE, metavar="NAME", help=f"of the alerts; default: {NAMESPACE}"
    )
    given.add_argument(
        "--denied",
        default=ground.DENIED,
        metavar="NAME",
        help=f"what the policy denies; default: {ground.DENIED}",
    )
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Plays the campaigns and returns the exit code."""
    if options.list:
        for shape in ALL:
            print(f"{shape.name:<14} {shape.title}")
        return 0
    if options.campaigns[:1] == [REPORT]:
        folders = [Path(name) for name in options.campaigns[1:]]
        if not folders:
            return _misused(f"{REPORT}: expected the folder of a campaign")
        return report.run(argparse.Namespace(folder=folders, output=options.output))
    try:
        shapes = _chosen(options.campaigns)
        place = _place(options)
    except (LookupError, ValueError) as error:
        return _misused(str(error))
    try:
        return asyncio.run(_played(shapes, place, options))
    except Occupied as error:
        return _misused(str(error))
    except (ToolMissing, Died, TimeoutError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    finally:
        end_everything()


async def _played(shapes: Sequence[type[Shape]], place: Place | None, options: argparse.Namespace) -> int:
    output: Path = (options.output or RESULTS).absolute()
    codes = []
    if place is not None:
        for shape in shapes:
            wish = _wish(shape, output, options)
            logs = wish.folder / "logs"
            async with ground.given_ground(
                place, logs, namespace=options.namespace, denied=options.denied
            ) as there:
                codes.append(await _one(wish, there))
        return max(codes)
    with alone(output):
        async with ground.control_plane(output / "cluster") as cluster:
            for shape in shapes:
                wish = _wish(shape, output, options)
                async with ground.own_ground(
                    cluster,
                    wish.folder / "logs",
                    namespace=options.namespace,
                    settings=ground.settings(wish.shape),
                    replicas=options.replicas,
                ) as here:
                    codes.append(await _one(wish, here))
    return max(codes)


@contextlib.contextmanager
def alone(output: Path) -> Iterator[None]:
    """Nobody else may work there: what an earlier run has left of its control plane is deleted. Raises `Occupied`."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Occupied(
                f"{output}: another run of campaigns is at work there; name another --output"
            ) from None
        shutil.rmtree(output / "cluster", ignore_errors=True)
        yield


async def _one(wish: Wish, there: Ground) -> int:
    shape = wish.shape
    _say(f"{shape.name}: {shape.title} ({shape.webhooks} webhooks in {shape.seconds:.0f} s)")
    try:
        await Campaign(wish, there, _say).play()
    except (BrokenOff, aiohttp.ClientError) as error:
        _say(f"  BROKEN OFF: {error}")
        return 1
    for line in judging.summary(wish.folder):
        _say(f"  {line}")
    await asyncio.to_thread(compare, wish.folder)
    verdict = await asyncio.to_thread(proof.write, wish.folder)
    for line in verdict.lines:
        _say(f"  {line}")
    _say(f"  {'passed' if verdict.passed else 'FAILED'}: {wish.folder / 'report.html'}")
    return 0 if verdict.passed else 1


def compare(folder: Path) -> None:
    """Writes what happened between the two looks at each gateway's metrics to `delta.txt`."""
    texts = []
    for before in sorted(folder.glob("before-*.prom")):
        after = before.with_name(before.name.replace("before", "after"))
        command = [ROOT / "scripts" / "metrics-delta.sh", before, after]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        texts.append(done.stdout + done.stderr)
    (folder / "delta.txt").write_text("\n".join(texts), encoding="utf-8")


def _wish(shape: type[Shape], output: Path, options: argparse.Namespace) -> Wish:
    folder = output / shape.name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    return Wish(
        shape=shape(options.scale, options.duration),
        scale=options.scale,
        duration=options.duration,
        seed=options.seed,
        workers=options.workers,
        folder=folder,
    )


def _place(options: argparse.Namespace) -> Place | None:
    """The gateways that are named; None where there are none. Raises `ValueError` for what does not fit."""
    if not options.gateway:
        if options.metrics or options.token or options.admin_token or options.kubeconfig:
            raise ValueError("--metrics, --token, --admin-token and --kubeconfig are for --gateway")
        return None
    told = {"GATEWAY_URL": options.gateway, "GATEWAY_METRICS_URL": options.metrics}
    place = Place.of({**os.environ, **{key: ",".join(urls) for key, urls in told.items() if urls}})
    return replace(
        place,
        token=options.token or place.token,
        admin_token=options.admin_token or place.admin_token,
        kubeconfig=options.kubeconfig or place.kubeconfig,
    )


def _chosen(names: Sequence[str]) -> Sequence[type[Shape]]:
    """The shapes of these names. Raises `LookupError`."""
    if not names or list(names) == ["all"]:
        return ALL
    for name in names:
        if name not in BY_NAME:
            raise LookupError(f"there is no campaign {name!r}; there are {', '.join(BY_NAME)}")
    return [BY_NAME[name] for name in names]


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time like 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _scale(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("expected more than 0 and at most 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return value


def _misused(text: str) -> int:
    print(f"load: {text}", file=sys.stderr)
    return 2


def _say(text: str) -> None:
    print(text, flush=True)
