"""What `gateway doctor` says of an Alertmanager's configuration file: whether its webhooks to a gateway can lose
alerts, are let in, and wait as long as the gateway may need.

Judged against the gateway's own settings. What Alertmanager does is in docs/architecture.md and was read in its source;
the defaults are those of Alertmanager 0.31.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.cli.doctor.receivers import PATHS, Times, Unreadable, Webhook, mapping, read, seconds
from gateway.config.quantities import render_duration
from gateway.config.settings import AuthMode, Settings
from gateway.resilience.diagnosis import Diagnosis, Grade

LEAST_DELIVERY: Final = 10.0
"""Seconds that Alertmanager grants a delivery, its retries included, however short `group_interval` is."""
SHORT_REPEAT: Final = 60.0
LONG_REPEAT: Final = 86_400.0

_TOKENS: Final = frozenset({AuthMode.BEARER, AuthMode.JWT, AuthMode.TOKENREVIEW})
_REMEDIES: Final[Mapping[AuthMode, str]] = {
    AuthMode.BEARER: "set http_config.authorization.credentials_file",
    AuthMode.BASIC: "set http_config.basic_auth",
    AuthMode.JWT: "set http_config.authorization.credentials_file, or http_config.oauth2",
    AuthMode.TOKENREVIEW: "set http_config.authorization.credentials_file to a token of its service account",
    AuthMode.MTLS: "set http_config.tls_config.cert_file and key_file",
}


def examine(path: Path, settings: Settings) -> list[Diagnosis]:
    """Everything about the file. Raises nothing but for a bug."""
    try:
        webhooks = read(path)
        ours = [webhook for webhook in webhooks if webhook.posts_to_a_gateway]
        found = [_receivers(path, webhooks, ours)]
        for webhook in ours:
            found += _Patient(webhook, settings).examine()
    except Unreadable as error:
        remedy = "see what amtool check-config says of it"
        return [Diagnosis("alertmanager", "file", str(path), Grade.WRONG, str(error), remedy)]
    return found


def _receivers(path: Path, webhooks: list[Webhook], ours: list[Webhook]) -> Diagnosis:
    if ours:
        number = (
            f"{len(ours)} of {len(webhooks)} webhooks {'posts' if len(ours) == 1 else 'post'} to a gateway"
        )
        return Diagnosis("alertmanager", "receivers", str(path), Grade.OK, number)
    hidden = sum(webhook.url is None for webhook in webhooks)
    if hidden:
        found = f"no webhook that can be seen posts to a gateway; {hidden} have their URL in a file that is not here"
        remedy = "run the doctor where the url_file is"
        return Diagnosis("alertmanager", "receivers", str(path), Grade.WARNING, found, remedy, seen=False)
    found = f"none of its {len(webhooks)} webhooks posts to a gateway"
    remedy = f"give a receiver a webhook whose URL ends in {PATHS[0]}"
    return Diagnosis("alertmanager", "receivers", str(path), Grade.WRONG, found, remedy)


class _Patient:
    """One webhook that posts to a gateway."""

    def __init__(self, webhook: Webhook, settings: Settings) -> None:
        self._webhook = webhook
        self._gateway = settings
        self._where = f"receiver {webhook.receiver}" + (
            f", webhook {webhook.number}" if webhook.number > 1 else ""
        )

    def examine(self) -> Iterator[Diagnosis]:
        yield self._redirects()
        yield self._truncation()
        yield self._resolved()
        yield self._authorization()
        yield self._timeout()
        yield from self._times()

    def _redirects(self) -> Diagnosis:
        if self._webhook.http.get("follow_redirects", True) is False:
            return self._ok("redirects", "are not followed")
        return self._warning(
            "redirects",
            "are followed with a GET, which counts as delivered: a proxy that redirects loses every alert",
            "set http_config.follow_redirects to false",
        )

    def _truncation(self) -> Diagnosis:
        most = self._webhook.settings.get("max_alerts", 0)
        if most == 0:
            return self._ok("max-alerts", "no limit")
        found = f"max_alerts is {most}: what a group has beyond it is dropped for good"
        return self._wrong("max-alerts", found, "set max_alerts to 0")

    def _resolved(self) -> Diagnosis:
        if self._webhook.settings.get("send_resolved", True) is not False:
            return self._ok("resolved", "is sent")
        found = "send_resolved is false: requests are not marked when their alert is over, and storms hold what is"
        return self._warning("resolved", found, "set send_resolved to true")

    def _authorization(self) -> Diagnosis:
        modes = self._gateway.auth.mode
        if modes == (AuthMode.NONE,):
            return self._ok("authorization", "the gateway asks for none")
        shown = _shown(self._webhook.http)
        fitting = [mode.value for mode in modes if mode in shown]
        if self._gateway.server.tls.cert_file and not self._webhook.encrypted:
            found = (
                "its URL is http, and the gateway speaks TLS: only a proxy in between could make them meet"
            )
            return self._warning("authorization", found, "make it https")
        if not fitting:
            wanted = " or ".join(mode.value for mode in modes)
            found = (
                f"the gateway wants {wanted}: each webhook is answered 401, which drops its alerts for good"
            )
            return self._wrong("authorization", found, ", or ".join(_REMEDIES[mode] for mode in modes))
        return self._ok("authorization", f"fits auth.mode {fitting[0]}")

    def _timeout(self) -> Diagnosis:
        """How long Alertmanager waits for the answer, beside how long the gateway may take for it."""
        needed = self._gateway.server.request_timeout
        own = seconds(self._webhook.settings, "timeout", 0.0)
        intervals = [max(times.group_interval, LEAST_DELIVERY) for times in self._webhook.routes]
        granted = min([*intervals, *([own] if own else [])], default=needed)
        said = f"waits {render_duration(granted)}, and server.request_timeout is {render_duration(needed)}"
        if granted >= needed:
            return self._ok("timeout", said)
        what = "timeout" if own and own == granted else "group_interval"
        remedy = f"raise {what} to {render_duration(needed)} at least, or lower server.request_timeout"
        early = f"{said}: what the gateway takes after that is sent and counted again"
        if granted <= self._gateway.server.ack_wait:
            return self._wrong("timeout", f"{early}, as is every new alert (server.ack_wait)", remedy)
        return self._warning("timeout", early, remedy)

    def _times(self) -> Iterator[Diagnosis]:
        if not self._webhook.routes:
            yield self._warning("route", "no route leads to it", "name it as the receiver of a route")
            return
        faults = dict(fault for times in self._webhook.routes for fault in _faults(times))
        for found, remedy in faults.items():
            yield self._warning("times", found, remedy)
        if not faults:
            yield self._ok("times", "group_interval and repeat_interval make sense")

    def _ok(self, check: str, found: str) -> Diagnosis:
        return Diagnosis("alertmanager", check, self._where, Grade.OK, found)

    def _warning(self, check: str, found: str, remedy: str) -> Diagnosis:
        return Diagnosis("alertmanager", check, self._where, Grade.WARNING, found, remedy)

    def _wrong(self, check: str, found: str, remedy: str) -> Diagnosis:
        return Diagnosis("alertmanager", check, self._where, Grade.WRONG, found, remedy)


def _shown(http: Mapping[str, Any]) -> frozenset[AuthMode]:
    """The modes of authentication for which these settings of an HTTP client show something."""
    authorization, basic, tls = (
        mapping(http.get(key)) for key in ("authorization", "basic_auth", "tls_config")
    )
    shown: set[AuthMode] = set()
    if _either(authorization, "credentials") and str(authorization.get("type", "Bearer")).lower() == "bearer":
        shown |= _TOKENS
    if _either(http, "bearer_token"):
        shown |= _TOKENS
    if http.get("oauth2"):
        shown |= {AuthMode.JWT, AuthMode.TOKENREVIEW}
    if _either(basic, "username") and _either(basic, "password"):
        shown.add(AuthMode.BASIC)
    if _either(tls, "cert") and _either(tls, "key"):
        shown.add(AuthMode.MTLS)
    return frozenset(shown)


def _either(settings: Mapping[str, Any], key: str) -> bool:
    """Whether it is there, itself or in a file."""
    return bool(settings.get(key) or settings.get(f"{key}_file"))


def _faults(times: Times) -> Iterator[tuple[str, str]]:
    """What does not make sense about the times of a route, and what to do."""
    interval, repeat = render_duration(times.group_interval), render_duration(times.repeat_interval)
    if times.group_interval < LEAST_DELIVERY:
        yield (
            f"group_interval is {interval}: a group is sent again, whole, each time that one of its alerts changes",
            "set group_interval to 30s or more",
        )
    if times.repeat_interval < times.group_interval:
        yield (
            f"repeat_interval ({repeat}) is shorter than group_interval ({interval}), which it waits for anyway",
            "set repeat_interval to a multiple of group_interval",
        )
    if times.repeat_interval < SHORT_REPEAT:
        yield (
            f"repeat_interval is {repeat}: counts rise by repetitions and say nothing of the problem",
            "set repeat_interval to some hours",
        )
    if times.repeat_interval > LONG_REPEAT:
        yield (
            f"repeat_interval is {repeat}: a problem that outlives its request has no other one until then",
            "set repeat_interval to a day or less",
        )
