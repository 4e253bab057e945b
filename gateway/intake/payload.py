"""The Alertmanager webhook, version 4, from bytes to structs.

A body is decoded in two steps: the webhook with its alerts still as raw JSON, then each alert by itself, so
that one bad alert costs nothing but itself. Unknown fields are skipped, since Alertmanager adds some without
a new version; whatever a lean sender leaves out, or sends as null, has a default. An escaped half of a
surrogate pair, which JSON allows and UTF-8 cannot hold, becomes U+FFFD, as in Go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from gateway.errors import MalformedBody, UnprocessableBody

_LARGEST_COUNT = 2**53
"""A counter of Prometheus is a float, which is exact up to here."""


class Alert(msgspec.Struct, gc=False):
    """One alert as it was sent. Times are text, and not judged yet."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    status: Literal["firing", "resolved"] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None
    fingerprint: str | None = None
    """Alertmanager's own: FNV-1a of all labels, in 16 hex digits. It moves with every label, so it is not
    used.
    """


class Outline(msgspec.Struct, gc=False):
    """One alert with its labels still as raw JSON: most were seen before, and what follows from them is known."""

    labels: msgspec.Raw = msgspec.Raw(b"null")
    annotations: dict[str, str] | None = None
    status: Literal["firing", "resolved"] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None
    fingerprint: str | None = None


class Webhook(msgspec.Struct, gc=False):
    """A webhook whose alerts are not decoded yet.

    Of the group's fields none decides anything: a notification is resent whole when one alert changes, so the
    alerts' own fields count. They are here because a sender that gets their types wrong should hear of it.
    """

    alerts: list[msgspec.Raw]
    version: str | float | None = None
    groupKey: str | None = None
    status: str | None = None
    receiver: str | None = None
    externalURL: str | None = None
    groupLabels: dict[str, str] | None = None
    commonLabels: dict[str, str] | None = None
    commonAnnotations: dict[str, str] | None = None
    truncatedAlerts: Annotated[float, msgspec.Meta(ge=0, le=_LARGEST_COUNT, multiple_of=1)] = 0
    """Alerts that the sender dropped for good, by its `max_alerts`. To JSON, 3.0 is as whole as 3."""


class AlertError(ValueError):
    """One alert cannot be decoded. `place` is the JSON path inside it, empty for the alert itself."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


_webhooks = msgspec.json.Decoder(Webhook)
_outlines = msgspec.json.Decoder(Outline)
_labels = msgspec.json.Decoder(dict[str, str] | None)
_syntax = msgspec.json.Decoder(msgspec.Raw)

_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<place>.*)`)?", re.DOTALL)


def decode(body: bytes) -> Webhook:
    """Return the webhook that `body` holds; its alerts are sound JSON, of any type.

    Raises MalformedBody where the body is not UTF-8, not JSON, or no object, and UnprocessableBody, with the
    JSON path, where it is an object of the wrong shape.
    """
    try:
        if not body.isascii():
            body.decode()
        return _webhooks.decode(body)
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise MalformedBody("the body nests too deeply") from error
    except msgspec.DecodeError as error:
        mended = _without_half_pairs(body)
        if mended is not None:
            return decode(mended)
        raise _reason(body, error) from error


def decode_alert(raw: msgspec.Raw) -> Alert:
    """Return one alert of a webhook; raises AlertError where it is of the wrong shape.

    It is read in the same two steps as at intake: where a name is there twice, both have to take the same one.
    """
    outlined = outline(raw)
    return Alert(
        labels_of(outlined, raw),
        outlined.annotations,
        outlined.status,
        outlined.startsAt,
        outlined.endsAt,
        outlined.generatorURL,
        outlined.fingerprint,
    )


def outline(raw: msgspec.Raw) -> Outline:
    """Return one alert with its labels as they came; raises AlertError where anything else is of the wrong shape."""
    try:
        return _outlines.decode(raw)
    except msgspec.DecodeError as error:
        raise _alert_error(raw, error) from error


def labels_of(outlined: Outline, raw: msgspec.Raw) -> dict[str, str]:
    """Return the labels of an alert, `raw` as a whole; raises AlertError where they are of the wrong shape."""
    try:
        return _labels.decode(outlined.labels) or {}
    except msgspec.DecodeError as error:
        raise _alert_error(raw, error, ".labels") from error


def _alert_error(raw: msgspec.Raw, error: msgspec.DecodeError, within: str = "") -> AlertError:
    what, place = _split(error)
    place = within + place
    if place in (".labels[...]", ".annotations[...]"):
        place = _culprit(bytes(raw), place[1:].partition("[")[0])
    return AlertError(what, place)


def _reason(body: bytes, error: msgspec.DecodeError) -> MalformedBody | UnprocessableBody:
    try:
        _syntax.decode(body)
    except (msgspec.DecodeError, RecursionError) as syntax:
        return MalformedBody(f"the body is not JSON: {syntax}")
    if not body.lstrip().startswith(b"{"):
        return MalformedBody("the body is no JSON object")
    what, place = _split(error)
    return UnprocessableBody(f"${place}: {what}")


def _split(error: msgspec.DecodeError) -> tuple[str, str]:
    """Return what msgspec found wrong and where: `.labels[...]` of "Expected `str` … at `$.labels[...]`"."""
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return str(error), ""
    return found["what"], found["place"] or ""


def _culprit(raw: bytes, field: str) -> str:
    """Return the path of the first entry of `field` that is no string."""
    entries = msgspec.json.decode(raw)[field]
    for name, value in entries.items() if isinstance(entries, Mapping) else ():
        if not isinstance(value, str):
            return f".{field}[{msgspec.json.encode(name[:80]).decode()}]"
    return f".{field}"


def _without_half_pairs(body: bytes) -> bytes | None:
    """Return `body` with each escaped half of a surrogate pair replaced, None where there is none."""
    count = 0

    def mend(found: re.Match[bytes]) -> bytes:
        nonlocal count
        if found["half"] is None:
            return found[0]
        count += 1
        return b"\\ufffd"

    mended = _ESCAPE.sub(mend, body)
    return mended if count else None
