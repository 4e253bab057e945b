"""The chart, rendered by Helm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "gateway"
VALUES = sorted(Path(__file__).with_name("values").glob("*.yaml"))
"""Sets of values, from the least to everything."""
RELEASE, WHERE = "alert-gateway", "monitoring"
"""The release, and its namespace."""

Json = dict[str, Any]


class Refused(Exception):
    """Helm renders nothing; the message says why."""


class Chart:
    """One chart, of the tree or packaged, and the Helm that reads it."""

    def __init__(self, helm: Path, chart: Path = CHART) -> None:
        self._helm = helm
        self._chart = chart

    def run(self, *arguments: str) -> str:
        """What a command of Helm's prints; raises `Refused` where it fails."""
        command = [str(self._helm), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def lint(self, values: Path | None = None) -> str:
        return self.run("lint", "--strict", str(self._chart), *(["--values", str(values)] if values else []))

    def text(self, values: Path | None = None, sets: Mapping[str, Any] | None = None) -> str:
        """The rendered templates. `sets` are laid over the values: dotted keys, and what JSON has for it."""
        return self.run("template", *self._arguments(values, sets))

    def install(
        self, kubeconfig: Path, values: Path | None = None, sets: Mapping[str, Any] | None = None
    ) -> str:
        """Installs or upgrades the release in a cluster; what Helm says then, with the notes."""
        arguments = self._arguments(values, sets)
        return self.run(
            "upgrade", "--install", "--create-namespace", "--kubeconfig", str(kubeconfig), *arguments
        )

    def uninstall(self, kubeconfig: Path) -> None:
        self.run("uninstall", RELEASE, "--namespace", WHERE, "--kubeconfig", str(kubeconfig))

    def _arguments(self, values: Path | None, sets: Mapping[str, Any] | None) -> list[str]:
        arguments = [RELEASE, str(self._chart), "--namespace", WHERE]
        if values is not None:
            arguments += ["--values", str(values)]
        for key, value in (sets or {}).items():
            arguments += ["--set-json", f"{key}={json.dumps(value)}"]
        return arguments

    def objects(self, values: Path | None = None, sets: Mapping[str, Any] | None = None) -> list[Json]:
        """What the chart makes of a set of values."""
        return [one for one in yaml.safe_load_all(self.text(values, sets)) if one]

    def package(self, folder: Path) -> Path:
        """The chart as it is handed on."""
        self.run("package", str(self._chart), "--destination", str(folder))
        (made,) = folder.glob("*.tgz")
        return made


def values(name: str) -> Path:
    """A set of values by its name."""
    (found,) = (one for one in VALUES if one.stem == name)
    return found


def of_kind(objects: list[Json], kind: str, name: str | None = None) -> list[Json]:
    return [
        one for one in objects if one["kind"] == kind and (name is None or one["metadata"]["name"] == name)
    ]


def one_of(objects: list[Json], kind: str, name: str | None = None) -> Json:
    (found,) = of_kind(objects, kind, name)
    return found


def workload(objects: list[Json]) -> Json:
    """What runs the gateway."""
    (found,) = (
        one
        for one in objects
        if one["kind"] in ("Deployment", "StatefulSet")
        and one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
    )
    return found


def pod(objects: list[Json]) -> Json:
    """The spec of the gateway's pods."""
    found: Json = workload(objects)["spec"]["template"]["spec"]
    return found


def config_text(objects: list[Json]) -> str:
    """The configuration that the pods get."""
    (found,) = (one for one in of_kind(objects, "ConfigMap") if "gateway.yaml" in one["data"])
    return str(found["data"]["gateway.yaml"])
