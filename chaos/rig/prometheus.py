"""A Prometheus of a test's own: rules and queries are asked of the real thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import yaml

from chaos.rig import tools
from chaos.rig.asking import answers, ask, ask_json
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

Config = str | Mapping[str, Any]
"""prometheus.yml: its text, or its content."""

Json = dict[str, Any]


class Prometheus(Process):
    """One server with its data in its folder. `url` is its base URL, kept over restarts, as the data are."""

    def __init__(
        self, folder: Path, *, config: Config, arguments: Sequence[str] = (), name: str = "prometheus"
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_path = folder / f"{name}.yml"
        self._config = config
        super().__init__(
            name,
            [
                tools.find("prometheus"),
                f"--config.file={self.config_path}",
                f"--storage.tsdb.path={folder / f'{name}-data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-lifecycle",
                *arguments,
            ],
            folder=folder,
        )

    def start(self, *, seconds: float = 60.0) -> None:
        """Writes the configuration, starts it and waits until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        super().start()
        self.until(lambda: answers(f"{self.url}/-/ready"), seconds=seconds)

    def reload(self, config: Config | None = None) -> None:
        """Makes it read its configuration and its rules again; raises `asking.Refused` if something is wrong."""
        if config is not None:
            self._config = config
        self._write()
        ask("POST", f"{self.url}/-/reload")

    def query(self, expression: str) -> list[Json]:
        """The samples of an instant query now, each with `metric` and `value`; raises `Refused` for a wrong one."""
        data = self._get("query", query=expression)
        if data["resultType"] in ("scalar", "string"):
            return [{"metric": {}, "value": data["result"]}]
        return cast("list[Json]", data["result"])

    def value(self, expression: str) -> float | None:
        """The one value of an instant query; None where it gives none. Raises `ValueError` for several."""
        found = self.query(expression)
        if len(found) > 1:
            raise ValueError(f"{expression} gives {len(found)} values")
        return float(found[0]["value"][1]) if found else None

    def query_range(self, expression: str, *, start: float, end: float, step: float) -> list[Json]:
        """The series of a range query, each with `metric` and `values`; times in seconds of the epoch."""
        data = self._get("query_range", query=expression, start=start, end=end, step=step)
        return cast("list[Json]", data["result"])

    def targets(self) -> list[Json]:
        """What it scrapes, with `health` and `lastError`."""
        return cast("list[Json]", self._get("targets")["activeTargets"])

    def rules(self) -> list[Json]:
        """Its rules with their state, of all groups."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: object) -> Any:
        return ask_json("GET", f"{self.url}/api/v1/{what}?{urlencode(parameters)}")["data"]

    def _write(self) -> None:
        text = self._config if isinstance(self._config, str) else yaml.safe_dump(dict(self._config))
        self.config_path.write_text(text)


def scrape_config(
    *urls: str,
    interval: str = "1s",
    rule_files: Sequence[Path] = (),
    alertmanager: str | None = None,
) -> Json:
    """A configuration that scrapes `/metrics` of base URLs as job `rig`, evaluates rules and sends their alerts."""
    config: Json = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(path) for path in rule_files],
        "scrape_configs": [
            {"job_name": "rig", "static_configs": [{"targets": [url.partition("://")[2] for url in urls]}]}
        ],
    }
    if alertmanager is not None:
        targets = [{"targets": [alertmanager.partition("://")[2]]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
    return config
