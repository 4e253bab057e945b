"""What an Alertmanager's configuration file says of the webhooks that post to a gateway, with what it leaves out filled
in as Alertmanager does.

A webhook is known by the path of its URL: host and port are seldom those that the gateway itself knows of. No more of
the file is read than that, so one for any version of Alertmanager will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

PATHS: Final = ("/v1/webhooks/prometheus", "/api/v1/signals/prometheus")
"""Where a gateway takes webhooks; a slash at the end does not matter."""
MOST_ROUTES: Final = 10_000

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_PART: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")


class Unreadable(Exception):
    """The file is none of Alertmanager's, or not one that can be understood; says why."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a route waits for, in seconds."""

    group_wait: float = 30.0
    group_interval: float = 300.0
    repeat_interval: float = 4 * 3600.0

    def under(self, route: Mapping[str, Any]) -> Times:
        """The times of a route below this one, which keeps what it does not say."""
        return Times(*(seconds(route, name, getattr(self, name)) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Webhook:
    """One entry of `webhook_configs`."""

    receiver: str
    number: int
    """1 for the first one of the receiver."""
    url: str | None
    """None where it is in a file that is not here."""
    settings: Mapping[str, Any]
    http: Mapping[str, Any]
    """Its `http_config`, else that of `global`."""
    routes: tuple[Times, ...]
    """Of every route that leads to the receiver."""

    @property
    def posts_to_a_gateway(self) -> bool:
        return self.url is not None and urlsplit(self.url).path.rstrip("/").endswith(PATHS)

    @property
    def encrypted(self) -> bool:
        return self.url is not None and urlsplit(self.url).scheme == "https"


def read(path: Path) -> list[Webhook]:
    """Every webhook of the file, in its order. Raises `Unreadable`."""
    try:
        whole = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise Unreadable(" ".join(str(error).split())) from error
    if not isinstance(whole, Mapping) or not isinstance(whole.get("route"), Mapping):
        raise Unreadable("it has no route, so it is no configuration of an Alertmanager")
    routes: dict[str, list[Times]] = {}
    for name, times in _routes(whole["route"]):
        routes.setdefault(name, []).append(times)
    common = mapping(mapping(whole.get("global")).get("http_config"))
    found = []
    for receiver in _mappings(whole.get("receivers")):
        name = str(receiver.get("name", ""))
        for number, settings in enumerate(_mappings(receiver.get("webhook_configs")), start=1):
            http = mapping(settings["http_config"]) if settings.get("http_config") is not None else common
            url = _url(settings, path.parent)
            found.append(Webhook(name, number, url, settings, http, tuple(routes.get(name, ()))))
    return found


def seconds(settings: Mapping[str, Any], name: str, default: float) -> float:
    """A duration like 1h30m; raises `Unreadable` for what is none."""
    value = settings.get(name)
    if value is None:
        return default
    if value in (0, "0"):
        return 0.0
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise Unreadable(f"{name} is no duration: {value!r}")
    return float(sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(value)))


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, or an empty mapping where it is none."""
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _routes(root: Mapping[str, Any]) -> Iterator[tuple[str, Times]]:
    """Receiver and times of each route; what a route does not say, the one above it says."""
    waiting = [(root, "", Times())]
    for _ in range(MOST_ROUTES):
        if not waiting:
            return
        route, above, times = waiting.pop(0)
        own = times.under(route)
        receiver = str(route.get("receiver") or above)
        yield receiver, own
        waiting += [(below, receiver, own) for below in _mappings(route.get("routes"))]
    raise Unreadable(f"it has more than {MOST_ROUTES} routes")


def _url(settings: Mapping[str, Any], folder: Path) -> str | None:
    if settings.get("url") is not None:
        return str(settings["url"])
    try:
        return (folder / str(settings.get("url_file", ""))).read_text().strip()
    except (OSError, ValueError):
        return None
