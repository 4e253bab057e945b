"""One webhook, alert by alert: validated, identified and judged, each by itself.

This is the hot path. What every occurrence needs (the fingerprint, the group, the times) is made at once;
what only a new request needs (`Reading.signal`, `Reading.hold`) is made when it is asked for, so that
duplicates never pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from gateway import errors
from gateway.config.settings import Settings
from gateway.intake.classification import (
    Classification,
    Classifier,
    EnvironmentBasis,
    EnvironmentOf,
    visible,
)
from gateway.intake.fingerprint import FINGERPRINT, Fingerprinter, Identity
from gateway.intake.holding import HoldPolicy
from gateway.intake.payload import (
    Alert,
    AlertError,
    Outline,
    Webhook,
    decode_alert,
    labels_of,
    outline,
)
from gateway.intake.policy import Judgement, Policy
from gateway.intake.recent import Recent
from gateway.intake.times import TimeError, normalised
from gateway.model import Hold, Outcome, Signal

LARGEST_ALERT = 512 * 1024
"""Bytes of an alert's labels and annotations. An object in etcd ends at 1.5 MiB, and holds them and the raw
JSON.
"""
LARGEST_RAW = 64 * 1024
"""Bytes of an alert's JSON up to which it is kept."""

_ZERO_TIME = "0001-01-01T00:00:00Z"


class InvalidReason(StrEnum):
    """Why an alert cannot be taken."""

    WRONG_TYPE = "wrong_type"
    NO_ALERTNAME = "no_alertname"
    BAD_LABEL = "bad_label"
    BAD_TIME = "bad_time"
    TOO_LARGE = "too_large"


class Rejected(msgspec.Struct, frozen=True):
    """An alert that is not taken."""

    outcome: Outcome
    """DENIED or INVALID."""
    detail: str
    """For a person: what is wrong with it, and where."""
    reason: str
    """A label value of the metrics: an `InvalidReason`, or one of the policy's reasons."""
    fingerprint: str | None = None


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """What an alert's labels alone say about it, whatever its annotations and times."""

    fingerprint: str
    group: str
    namespace: str
    alertname: str


class _Delivery(msgspec.Struct, frozen=True, gc=False):
    """What all alerts of one webhook share."""

    intake: Intake
    received_at: str
    identity: str
    source: str


class Reading(msgspec.Struct, gc=False, eq=False):
    """One alert of a webhook that can be taken. Times have the fixed width described in `gateway.model`."""

    fingerprint: str
    group: str
    resolved: bool
    starts_at: str
    """The time of receipt where the alert names none."""
    dated: bool
    """Whether the alert named its start."""
    ends_at: str
    """Of a resolved alert, the time of receipt where it names none; of a firing one, empty."""
    namespace: str
    """The label, empty where there is none."""
    alertname: str
    raw: msgspec.Raw
    delivery: _Delivery
    _signal: Signal | None = None

    @property
    def alert(self) -> Alert:
        """The whole alert, read again: thousands are on their way at once, and of a duplicate nobody asks for more
        than its fingerprint. Holding them all would cost more than reading a few twice.
        """
        return decode_alert(self.raw)

    @property
    def problem(self) -> Identity:
        """What its fingerprint was made of, made again like `alert`."""
        return self.delivery.intake.identify(self.alert)

    def signal(self) -> Signal:
        """Return all that a request is made of; classified at the first call."""
        if self._signal is None:
            self._signal = self._classified()
        return self._signal

    def hold(self) -> Hold | None:
        """Return how it is held if it has no open request; None: not at all. The same at each call."""
        return self.delivery.intake.decide_hold(self)[0]

    def classification(self) -> Classification:
        """Return what kind of problem it is, and why, as of now."""
        return self.delivery.intake.classify(self)

    def _classified(self) -> Signal:
        alert = self.alert
        kind = self.classification()
        raw = memoryview(self.raw)
        return Signal(
            fingerprint=self.fingerprint,
            alertname=self.alertname,
            namespace=self.namespace,
            group=self.group,
            labels={name: value for name, value in (alert.labels or {}).items() if value},
            annotations=dict(alert.annotations or {}),
            severity=kind.severity,
            environment=kind.environment,
            priority=kind.priority,
            resource=self.problem.resource,
            starts_at=self.starts_at,
            dated=self.dated,
            received_at=self.delivery.received_at,
            raw=raw.tobytes() if raw.nbytes <= LARGEST_RAW else b"",
        )


class Intake:
    """Reads webhooks by the rules of the settings, compiled once. Immutable: a reload makes another."""

    def __init__(
        self,
        settings: Settings,
        environment_of: EnvironmentOf,
        environments_known: Callable[[], bool] = lambda: True,
    ) -> None:
        """`environments_known`: whether `environment_of` can tell by now."""
        self._environments_known = environments_known
        self._fingerprinter = Fingerprinter(settings.dedup, settings.storm.group_by)
        self._classifier = Classifier(settings.classify, environment_of)
        self._policy = Policy(settings.policy)
        self._holding = HoldPolicy(settings.storm)
        self._recent = Recent[_Seen]()

    def read(
        self, webhook: Webhook, *, received_at: str, identity: str = "", source: str = ""
    ) -> list[Reading | Rejected]:
        """Return what each alert is, in order. `received_at` has the fixed width.

        Raises `Unjudged` where the policy asks for an environment that is not known yet.
        """
        readings = self.validate(webhook, received_at=received_at, identity=identity, source=source)
        if self._policy.takes_all:
            return readings
        return [self._admitted(reading) if isinstance(reading, Reading) else reading for reading in readings]

    def validate(
        self, webhook: Webhook, *, received_at: str, identity: str = "", source: str = ""
    ) -> list[Reading | Rejected]:
        """Return what each alert is before the policy is asked."""
        delivery = _Delivery(self, received_at, identity, source)
        return [self._validated(raw, position, delivery) for position, raw in enumerate(webhook.alerts)]

    @property
    def denial_reasons(self) -> tuple[str, ...]:
        """Every reason that an alert's denial can have, so that a metric can know them beforehand."""
        return self._policy.reasons

    def identify(self, alert: Alert) -> Identity:
        """Return which problem an alert is about, and why."""
        return self._fingerprinter.identify(alert.labels or {}, alert.annotations or {})

    def judge(self, reading: Reading) -> Judgement:
        """Return what the policy says of an alert."""
        labels = reading.alert.labels or {}
        environment, basis = self._classifier.environment(labels)
        if (
            basis is EnvironmentBasis.DEFAULT
            and self._policy.asks_environment
            and labels.get("namespace")
            and not self._environments_known()
        ):
            raise errors.Unjudged("the policy asks for environments, and no namespaces could be listed yet")
        return self._policy.judge(
            visible(labels, environment, reading.delivery.identity, reading.delivery.source)
        )

    def decide_hold(self, reading: Reading) -> tuple[Hold | None, str]:
        """Return how a new alert is held, None for not at all, and what decided: see `HoldPolicy`."""
        if self._holding.takes_all_alike:
            return self._holding.otherwise
        # Whoever asks needs the signal, too: the payload of a new record is made of it.
        signal = reading.signal()
        delivery = reading.delivery
        return self._holding.decide(
            visible(signal.labels, signal.environment, delivery.identity, delivery.source)
        )

    def classify(self, reading: Reading) -> Classification:
        """Return what kind of problem an alert is."""
        delivery = reading.delivery
        return self._classifier.classify(
            reading.alert.labels or {}, identity=delivery.identity, source=delivery.source
        )

    def _admitted(self, reading: Reading) -> Reading | Rejected:
        judgement = self.judge(reading)
        if judgement.allowed:
            return reading
        return Rejected(
            Outcome.DENIED, f"denied by {judgement.rule}", judgement.reason, fingerprint=reading.fingerprint
        )

    def _validated(self, raw: msgspec.Raw, position: int, delivery: _Delivery) -> Reading | Rejected:
        try:
            alert = outline(raw)
            seen = self._recent.get(key := bytes(alert.labels))
            if seen is None or (alert.annotations and FINGERPRINT in alert.annotations):
                seen = self._recognised(key, alert, labels_of(alert, raw))
        except AlertError as error:
            return _invalid(InvalidReason.WRONG_TYPE, position, error.place, str(error))
        except _Unfit as error:
            return _invalid(error.reason, position, error.place, str(error))
        # JSON never takes fewer bytes than the text in it, so a short one needs no sum.
        if (
            memoryview(raw).nbytes > LARGEST_ALERT
            and _size(labels_of(alert, raw), alert.annotations) > LARGEST_ALERT
        ):
            return _invalid(
                InvalidReason.TOO_LARGE, position, "", f"labels and annotations exceed {LARGEST_ALERT} bytes"
            )
        place = ".startsAt"
        try:
            starts_at = normalised(alert.startsAt) if alert.startsAt else None
            place = ".endsAt"
            ended = alert.endsAt
            ends_at = normalised(ended) if ended and ended != _ZERO_TIME else None
        except TimeError as error:
            return _invalid(InvalidReason.BAD_TIME, position, place, str(error))
        resolved = alert.status == "resolved"
        return Reading(
            seen.fingerprint,
            seen.group,
            resolved,
            starts_at or delivery.received_at,
            starts_at is not None,
            (ends_at or delivery.received_at) if resolved else "",
            seen.namespace,
            seen.alertname,
            raw,
            delivery,
        )

    def _recognised(self, key: bytes, alert: Outline, labels: dict[str, str]) -> _Seen:
        """What the labels say; remembered, unless an annotation has a say in it. Raises `_Unfit`."""
        alertname = labels.get("alertname")
        if not alertname:
            raise _Unfit(InvalidReason.NO_ALERTNAME, ".labels", "there is no label alertname")
        if "" in labels:
            raise _Unfit(InvalidReason.BAD_LABEL, '.labels[""]', "a label needs a name")
        annotations = alert.annotations or {}
        problem = self._fingerprinter.identify(labels, annotations)
        seen = _Seen(problem.fingerprint, problem.group, labels.get("namespace", ""), alertname)
        if FINGERPRINT not in annotations:
            self._recent.put(key, seen)
        return seen


class _Unfit(Exception):
    """An alert whose labels cannot be those of an alert."""

    def __init__(self, reason: InvalidReason, place: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.place = place


def _invalid(reason: InvalidReason, position: int, place: str, what: str) -> Rejected:
    return Rejected(Outcome.INVALID, f"$.alerts[{position}]{place}: {what}", reason.value)


def _size(*several: dict[str, str] | None) -> int:
    return sum(
        len(name.encode()) + len(value.encode()) for texts in several for name, value in (texts or {}).items()
    )
