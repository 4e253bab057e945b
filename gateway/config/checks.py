"""What must hold between keys, beyond what each key says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.config.settings import AuthMode, Settings
from gateway.config.unbuilt import REFUSED, value_at


@dataclass(frozen=True)
class Check:
    """A promise over some keys; skipped where one of them is faulty itself, so no fault is told twice."""

    paths: tuple[str, ...]
    fault: Callable[[Settings], str | None]
    """What is wrong at the first path, and what would be right; None where nothing is."""


def faults(settings: Settings, faulty: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return (path, what is wrong and what would be right), leaving out the checks over paths in `faulty`."""
    known = set(faulty)
    found = [
        (check.paths[0], fault)
        for check in CHECKS
        if known.isdisjoint(check.paths) and (fault := check.fault(settings)) is not None
    ]
    found += [
        (refusal.path, refusal.instead)
        for refusal in REFUSED
        if refusal.path not in known and refusal.asks(value_at(settings, refusal.path))
    ]
    return found


def _anonymous(settings: Settings) -> str | None:
    if not settings.anonymous_beyond_loopback or settings.auth.allow_anonymous:
        return None
    return (
        f"everybody who reaches {settings.server.host} could post alerts; set auth.mode to bearer, "
        "or server.host to 127.0.0.1, or auth.allow_anonymous to true where that is meant"
    )


def _tokens(settings: Settings) -> str | None:
    if AuthMode.BEARER in settings.auth.mode and settings.auth.tokens_file is None:
        return "mode bearer needs it; name a file with one name:token a line"
    return None


def _window_times(settings: Settings) -> str | None:
    if settings.storm.max_window < settings.storm.hold:
        return "is shorter than storm.hold; expected at least as long"
    return None


def _ports(settings: Settings) -> str | None:
    if settings.server.metrics_port == settings.server.port != 0:
        return "is server.port, too; expected a port of its own"
    return None


def _ignored_alertname(settings: Settings) -> str | None:
    for number, rule in enumerate(settings.dedup.rules):
        if "alertname" in rule.ignore:
            return f"rule {number} ignores alertname, which always counts; leave it out of the list"
    return None


def _terminal(settings: Settings) -> str | None:
    if not settings.dedup.terminal_phases:
        return "is empty, so only a deleted request would be closed; expected at least one phase"
    return None


CHECKS = (
    Check(("auth.mode", "auth.allow_anonymous", "server.host"), _anonymous),
    Check(("auth.tokens_file", "auth.mode"), _tokens),
    Check(("storm.max_window", "storm.hold"), _window_times),
    Check(("server.metrics_port", "server.port"), _ports),
    Check(("dedup.rules",), _ignored_alertname),
    Check(("dedup.terminal_phases",), _terminal),
)


def all_paths() -> set[str]:
    """Return every path that a check or a refusal concerns."""
    return {path for check in CHECKS for path in check.paths} | {refusal.path for refusal in REFUSED}
