"""What must hold between keys, beyond what each key says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.config import redis_url
from gateway.config.quantities import render_duration
from gateway.config.settings import AuthMode, RedisSentinel, RedisTLS, Settings, Storm, is_loopback

Fault = tuple[str, str]
"""A path; what is wrong there, and what would be right."""


@dataclass(frozen=True)
class Check:
    """A promise over some keys; skipped where one of them is faulty itself, so no fault is told twice."""

    paths: tuple[str, ...]
    """The keys that it reads, down to a section's key."""
    faults: Callable[[Settings], Iterable[Fault]]


def faults(settings: Settings, faulty: Iterable[str] = ()) -> list[Fault]:
    """Return every fault, leaving out the checks over paths in `faulty`."""
    known = set(faulty)
    return [fault for check in CHECKS if known.isdisjoint(check.paths) for fault in check.faults(settings)]


def _anonymous(settings: Settings) -> Iterator[Fault]:
    if settings.anonymous_beyond_loopback and not settings.auth.allow_anonymous:
        fault = (
            f"everybody who reaches {settings.server.host} could post alerts; set auth.mode to bearer, "
            "or server.host to 127.0.0.1, or auth.allow_anonymous to true where that is meant"
        )
        yield "auth.mode", fault


def _tokens(settings: Settings) -> Iterator[Fault]:
    if AuthMode.BEARER in settings.auth.mode and settings.auth.tokens_file is None:
        yield "auth.tokens_file", "mode bearer needs it; name a file with one name:token a line"


def _users(settings: Settings) -> Iterator[Fault]:
    if AuthMode.BASIC in settings.auth.mode and settings.auth.users_file is None:
        yield "auth.users_file", "mode basic needs it; name a file of htpasswd's form (htpasswd -B)"


def _jwt(settings: Settings) -> Iterator[Fault]:
    jwt = settings.auth.jwt
    if AuthMode.JWT in settings.auth.mode:
        if jwt.key_file is None and jwt.jwks_url is None:
            yield "auth.jwt.key_file", "mode jwt needs it, or auth.jwt.issuer and auth.jwt.jwks_url"
        if jwt.revocations_path is None:
            fault = (
                "mode jwt needs it where there is no auth.jwt.key_file; name a file that outlives a restart"
            )
            yield "auth.jwt.revocations_file", fault
        if not jwt.algorithms:
            yield "auth.jwt.algorithms", "is empty, so no token would count; expected at least one"
    if (jwt.jwks_url is None) != (jwt.issuer is None):
        lacking = "issuer" if jwt.issuer is None else "jwks_url"
        yield f"auth.jwt.{lacking}", "is needed; expected auth.jwt.issuer and auth.jwt.jwks_url together"
    if jwt.issuer == "alert-gateway":
        yield "auth.jwt.issuer", "is the name under which the gateway issues its own tokens; use another one"
    if jwt.jwks_url is not None:
        parts = urlsplit(jwt.jwks_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            fault = "is read without TLS, so anybody on the way could put in keys; use https, or loopback"
            yield "auth.jwt.jwks_url", fault


def _review(settings: Settings) -> Iterator[Fault]:
    access = settings.auth.tokenreview.access
    if access is not None and (access.path is None) == (access.resource is None):
        yield "auth.tokenreview.access", "needs either a resource or a path"


def _tls(settings: Settings) -> Iterator[Fault]:
    tls = settings.server.tls
    if (tls.cert_file is None) != (tls.key_file is None):
        lacking = "cert_file" if tls.cert_file is None else "key_file"
        yield (
            f"server.tls.{lacking}",
            "is needed; expected server.tls.cert_file and server.tls.key_file together",
        )
    if tls.client_ca_file is not None and tls.cert_file is None:
        yield "server.tls.client_ca_file", "does nothing without server.tls.cert_file and server.tls.key_file"


def _mtls(settings: Settings) -> Iterator[Fault]:
    if AuthMode.MTLS not in settings.auth.mode:
        return
    tls = settings.server.tls
    if tls.cert_file is None or tls.client_ca_file is None:
        yield "server.tls", "mode mtls needs server.tls.cert_file, key_file and client_ca_file"
    if not settings.auth.mtls.names:
        yield "auth.mtls.names", "mode mtls needs it; name at least one, like dns:alertmanager.monitoring.svc"


def _chaos(settings: Settings) -> Iterator[Fault]:
    if not settings.chaos.enabled:
        return
    if settings.anonymous_beyond_loopback:
        fault = (
            f"everybody who reaches {settings.server.host} could inject faults; set auth.mode and chaos.admins, "
            "or server.host to 127.0.0.1"
        )
        yield "chaos.enabled", fault
    elif not settings.chaos.admins and AuthMode.NONE not in settings.auth.mode:
        yield "chaos.admins", "is empty, so nobody could inject a fault; name at least one identity"


def _window_times(settings: Settings) -> Iterator[Fault]:
    if settings.storm.max_window < settings.storm.hold:
        yield "storm.max_window", "is shorter than storm.hold; expected at least as long"


def _threshold(settings: Settings) -> Iterator[Fault]:
    if settings.storm.threshold > settings.storm.max_alerts:
        yield "storm.threshold", _unreachable(settings.storm)


def _storm_rules(settings: Settings) -> Iterator[Fault]:
    for number, rule in enumerate(settings.storm.rules):
        place = f"storm.rules[{number}]"
        own = {name for name, value in rule if name in Storm.model_fields and value is not None}
        if rule.mode == "immediate":
            for name in sorted(own):
                yield f"{place}.{name}", "does nothing where mode is immediate; leave it out, or the mode"
            continue
        applied = settings.storm.under(rule)
        if applied.max_window < applied.hold and "max_window" in own:
            at_least = render_duration(applied.hold)
            yield f"{place}.max_window", f"is shorter than the hold of {at_least}; expected at least as long"
        elif applied.max_window < applied.hold and "hold" in own:
            at_most = render_duration(applied.max_window)
            yield f"{place}.hold", f"is longer than storm.max_window; expected at most {at_most}"
        if applied.threshold > applied.max_alerts and "threshold" in own:
            yield f"{place}.threshold", _unreachable(applied)


def _unreachable(storm: Storm) -> str:
    return (
        f"is more than storm.max_alerts, where a window ends, so it is never reached; expected at most "
        f"{storm.max_alerts} (against storms at all: a rule with mode immediate)"
    )


def _ports(settings: Settings) -> Iterator[Fault]:
    if settings.server.metrics_port == settings.server.port != 0:
        yield "server.metrics_port", "is server.port, too; expected a port of its own"


def _ignored_alertname(settings: Settings) -> Iterator[Fault]:
    for number, rule in enumerate(settings.dedup.rules):
        if "alertname" in rule.ignore:
            yield f"dedup.rules[{number}].ignore", "holds alertname, which always counts; leave it out"


def _terminal(settings: Settings) -> Iterator[Fault]:
    if not settings.dedup.terminal_phases:
        yield (
            "dedup.terminal_phases",
            "is empty, so only a deleted request would be closed; expected at least one phase",
        )


def _redis_tls(settings: Settings) -> Iterator[Fault]:
    tls = settings.redis.tls
    if (tls.cert_file is None) != (tls.key_file is None):
        missing = "key_file" if tls.key_file is None else "cert_file"
        yield f"redis.tls.{missing}", "is missing: a certificate and its key go together"
    if tls != RedisTLS() and not redis_url.parse(settings.redis.url).tls:
        yield "redis.tls", "does nothing with this redis.url; expected one that begins with rediss"


def _redis_files(settings: Settings) -> Iterator[Fault]:
    redis = settings.redis
    if redis.username_file is not None and redis.password_file is None:
        yield "redis.password_file", "is missing: redis.username_file names a user, who has a password"
    if redis.sentinel.username_file is not None and redis.sentinel.password_file is None:
        yield "redis.sentinel.password_file", "is missing: redis.sentinel.username_file names a user"
    topology = redis_url.parse(redis.url).topology
    if redis.sentinel != RedisSentinel() and topology is not redis_url.Topology.SENTINELS:
        yield "redis.sentinel", "does nothing with this redis.url; expected redis+sentinel://…"


CHECKS = (
    Check(("auth.mode", "auth.allow_anonymous", "server.host"), _anonymous),
    Check(("auth.tokens_file", "auth.mode"), _tokens),
    Check(("auth.users_file", "auth.mode"), _users),
    Check(("auth.jwt", "auth.mode"), _jwt),
    Check(("auth.tokenreview",), _review),
    Check(("server.tls",), _tls),
    Check(("auth.mode", "auth.mtls", "server.tls"), _mtls),
    Check(("chaos.enabled", "chaos.admins", "auth.mode", "server.host"), _chaos),
    Check(("storm.max_window", "storm.hold"), _window_times),
    Check(("storm.threshold", "storm.max_alerts"), _threshold),
    Check(("storm.rules", "storm.hold", "storm.max_window", "storm.max_alerts"), _storm_rules),
    Check(("server.metrics_port", "server.port"), _ports),
    Check(("dedup.rules",), _ignored_alertname),
    Check(("dedup.terminal_phases",), _terminal),
    Check(("redis.url", "redis.tls"), _redis_tls),
    Check(("redis.url", "redis.username_file", "redis.password_file", "redis.sentinel"), _redis_files),
)


def all_paths() -> set[str]:
    """Return every path that a check concerns."""
    return {path for check in CHECKS for path in check.paths}
