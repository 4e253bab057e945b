"""An Alertmanager of a test's own: the real sender of what the gateway receives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml

from chaos.rig import tools
from chaos.rig.asking import answers, ask, ask_json
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

Config = str | Mapping[str, Any]
"""alertmanager.yml: its text, or its content."""

Json = dict[str, Any]


class Alertmanager(Process):
    """One Alertmanager without peers. `url` is its base URL, kept over restarts; it logs each notification.

    Its notification log and its silences survive `restart`; alerts do not, in any Alertmanager: whoever posts them
    posts them again. `arguments` are further flags.
    """

    def __init__(
        self, folder: Path, *, config: Config, arguments: Sequence[str] = (), name: str = "alertmanager"
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.config_path = folder / f"{name}.yml"
        self._config = config
        super().__init__(
            name,
            [
                tools.find("alertmanager"),
                f"--config.file={self.config_path}",
                f"--storage.path={folder / f'{name}-data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                "--log.level=debug",
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

    def stop(self) -> None:
        """Ends it in order: what it has to keep is on disk then."""
        self.terminate()

    def restart(self) -> None:
        """Ends it in order if it runs, and starts it again with the same port and the same data."""
        if self.alive:
            self.stop()
        self.start()

    def reload(self, config: Config | None = None) -> None:
        """Makes it read its configuration again, a new one if given; raises `asking.Refused` if that is wrong."""
        if config is not None:
            self._config = config
        self._write()
        ask("POST", f"{self.url}/-/reload")

    def post_alerts(self, alerts: Iterable[Mapping[str, Any]]) -> None:
        """Posts alerts as Prometheus does: objects with `labels`, and `annotations`, `startsAt`, `endsAt` if wanted.

        One without `endsAt` fires until `resolve_timeout` after its last post.
        """
        ask("POST", f"{self.url}/api/v2/alerts", list(alerts))

    def resolve_alerts(self, alerts: Iterable[Mapping[str, Any]]) -> None:
        """Posts the same alerts as ended now."""
        now = datetime.now(UTC).isoformat()
        self.post_alerts([{**alert, "endsAt": now} for alert in alerts])

    def alerts(self) -> list[Json]:
        """What it holds now, as its API tells it."""
        return cast("list[Json]", ask_json("GET", f"{self.url}/api/v2/alerts"))

    def metrics(self) -> str:
        """The text of its metrics page."""
        return ask("GET", f"{self.url}/metrics").decode()

    def _write(self) -> None:
        text = self._config if isinstance(self._config, str) else yaml.safe_dump(dict(self._config))
        self.config_path.write_text(text)


def webhook_config(
    url: str,
    *,
    group_by: Sequence[str] = ("alertname",),
    group_wait: str = "100ms",
    group_interval: str = "300ms",
    repeat_interval: str = "1s",
    webhook: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
) -> Json:
    """A configuration that sends everything to one webhook, without the waits of production.

    A group is repeated when both `group_interval` and `repeat_interval` have passed. `webhook` and `route` are laid
    over what `webhook_configs` and the top route have (`{"max_alerts": 10}`, `{"routes": [...]}`).
    """
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": "webhook",
            "group_by": list(group_by),
            "group_wait": group_wait,
            "group_interval": group_interval,
            "repeat_interval": repeat_interval,
            **(route or {}),
        },
        "receivers": [
            {
                "name": "webhook",
                "webhook_configs": [{"url": url, "send_resolved": True, **(webhook or {})}],
            }
        ],
    }
