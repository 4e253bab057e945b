"""Why an alert is read as it is: each decision of the hot path, with the rule that made it.

It asks the same objects as `Intake.read`, so it cannot tell another story.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gateway.intake.classification import Classification
from gateway.intake.fingerprint import Identity
from gateway.intake.payload import Webhook
from gateway.intake.policy import Judgement
from gateway.intake.reading import Intake, Rejected
from gateway.model import Hold


class Fate(StrEnum):
    """What intake makes of an alert."""

    TAKEN = "taken"
    DENIED = "denied"
    INVALID = "invalid"


class Explanation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert of a webhook and the decisions about it; an invalid one has none but its `detail`."""

    position: int
    """Counted from 0."""
    fate: Fate
    detail: str = ""
    """What is wrong with an invalid alert, and where."""
    alertname: str = ""
    namespace: str = ""
    resolved: bool = False
    starts_at: str = ""
    dated: bool = False
    identity: Identity | None = None
    classification: Classification | None = None
    policy: Judgement | None = None
    hold: Hold | None = None
    """How it is held if it has no open request; None: not at all."""
    hold_rule: str = ""
    """What decided that; empty where the alert opens nothing: it is resolved, or not taken."""


def explain(
    intake: Intake, webhook: Webhook, *, received_at: str, identity: str = "", source: str = ""
) -> list[Explanation]:
    """Return an explanation for each alert, in their order. `identity` and `source` are what a rule would
    see.
    """
    explanations = []
    readings = intake.validate(webhook, received_at=received_at, identity=identity, source=source)
    for position, reading in enumerate(readings):
        if isinstance(reading, Rejected):
            explanations.append(Explanation(position=position, fate=Fate.INVALID, detail=reading.detail))
            continue
        judgement = intake.judge(reading)
        opens = judgement.allowed and not reading.resolved
        hold, hold_rule = intake.decide_hold(reading) if opens else (None, "")
        explanations.append(
            Explanation(
                position=position,
                fate=Fate.TAKEN if judgement.allowed else Fate.DENIED,
                alertname=reading.alertname,
                namespace=reading.namespace,
                resolved=reading.resolved,
                starts_at=reading.starts_at,
                dated=reading.dated,
                identity=reading.problem,
                classification=intake.classify(reading),
                policy=judgement,
                hold=hold,
                hold_rule=hold_rule,
            )
        )
    return explanations
