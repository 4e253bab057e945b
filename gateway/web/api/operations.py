"""What each route of the gateway says of itself, with examples made of the types that are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.engine.reports import (
    AlertReport,
    BreakerReport,
    HeldReport,
    Mode,
    Queue,
    RecordReport,
    RecordState,
    RequestReport,
    WindowReport,
    WindowState,
)
from gateway.intake.payload import Alert, Webhook
from gateway.model import Outcome, RequestRef, Verdict, WindowView
from gateway.web.api.words import Answered, Example, Operation, Parameter, Taken
from gateway.web.problems import Reason
from gateway.web.reports import Alive, ComponentReport, NotReady, Ready, Status, Storms, TaskReport
from gateway.web.webhook import Accepted, NothingTaken

ALERTS, STATE, HEALTH, REHEARSALS, ABOUT = "alerts", "state", "health", "rehearsals", "description"
TAGS: Final[Mapping[str, str]] = {
    ALERTS: "Where Alertmanager posts.",
    STATE: "What the gateway does, for people and programs.",
    HEALTH: "For probers and Prometheus; tells nothing of alerts.",
    REHEARSALS: "Faults on purpose; there with `chaos.enabled` only.",
    ABOUT: "This description.",
}

FINGERPRINT: Final = "6a9dd7e5c3b1f0284a6c8e0f2b4d6183957b1d3f5a7c9e0b2d4f618395a7c9e1"
_REQUEST: Final = RequestRef("prod-api", "rr-podoomkilled-6a9dd7e5c3-1")
_WINDOW: Final = WindowView(id="w-1f6c0a9be2", due_at="2026-01-31T09:01:05.000Z", members=7)
_ALERT: Final[Mapping[str, Any]] = {
    "status": "firing",
    "labels": {
        "alertname": "PodOOMKilled",
        "namespace": "prod-api",
        "pod": "payment-7d4b9c6f5-x2x9q",
        "severity": "critical",
    },
    "annotations": {"summary": "a container ran out of memory"},
    "startsAt": "2026-01-31T09:00:00.000Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph",
    "fingerprint": "c2a1f0d9e8b7a695",
}
_REQUESTS: Final = {
    "alertmanager": Example(
        summary="A webhook of Alertmanager",
        value={
            "version": "4",
            "groupKey": '{}:{alertname="PodOOMKilled"}',
            "status": "firing",
            "receiver": "gateway",
            "externalURL": "http://alertmanager.example",
            "groupLabels": {"alertname": "PodOOMKilled"},
            "commonLabels": {"alertname": "PodOOMKilled", "namespace": "prod-api"},
            "commonAnnotations": {},
            "truncatedAlerts": 0,
            "alerts": [_ALERT],
        },
        answer=201,
    ),
    "lean": Example(
        summary="All that has to be there",
        value={"alerts": [{"labels": {"alertname": "NodeNotReady", "node": "worker-3"}}]},
        answer=201,
    ),
    "resolved": Example(
        summary="An alert that is over",
        value={"alerts": [{**_ALERT, "status": "resolved", "endsAt": "2026-01-31T09:30:00.000Z"}]},
        answer=202,
    ),
    "mixed": Example(
        summary="A bad alert costs nothing but itself",
        value={
            "alerts": [
                {"labels": {"alertname": "DiskFull", "instance": "db-1"}},
                {"labels": {"severity": "info"}},
            ]
        },
        answer=201,
    ),
    "empty": Example(summary="No alert at all", value={"alerts": []}, answer=202),
    "nameless": Example(
        summary="No alert that can be taken",
        value={"alerts": [{"labels": {"severity": "info"}}]},
        answer=422,
    ),
    "shapeless": Example(summary="Alerts that are no list", value={"alerts": "PodOOMKilled"}, answer=422),
    "listed": Example(summary="No object", value=[], answer=400),
}


def _accepted(*verdicts: Verdict) -> Accepted:
    outcomes = [verdict.outcome.value for verdict in verdicts]
    counts = {outcome: outcomes.count(outcome) for outcome in outcomes}
    return Accepted("accepted", "8f2b6c1d-0000002a", counts, verdicts)


WEBHOOK: Final = Operation(
    name="postAlerts",
    tag=ALERTS,
    summary="Take the alerts of a webhook",
    description=(
        "Alertmanager's webhook, version 4. Each alert is taken by itself, and the answer says what became of it. "
        "After a 2xx every alert that is neither denied nor invalid is in Redis or in Kubernetes. After a 503 the "
        "identical body counts only what was not taken before. Fields that are not described are ignored; whatever "
        "is left out or null has a default. The body may be compressed with gzip."
    ),
    takes=Taken(description="A webhook.", body=Webhook, examples=_REQUESTS, parts=(Alert,)),
    answers={
        201: Answered(
            description="Accepted, and at least one request was created.",
            body=Accepted,
            examples={
                "created": Example(
                    summary="A new alert",
                    value=_accepted(
                        Verdict(
                            outcome=Outcome.CREATED,
                            fingerprint=FINGERPRINT,
                            request=_REQUEST,
                            occurrence_count=1,
                        )
                    ),
                )
            },
        ),
        202: Answered(
            description="Accepted: counted on open requests, held in a window, queued, or resolved.",
            body=Accepted,
            examples={
                "counted": Example(
                    summary="A duplicate, and a new alert that waits for company",
                    value=_accepted(
                        Verdict(
                            outcome=Outcome.DUPLICATE,
                            fingerprint=FINGERPRINT,
                            request=_REQUEST,
                            occurrence_count=17,
                        ),
                        Verdict(outcome=Outcome.BUFFERED, fingerprint=FINGERPRINT[::-1], window=_WINDOW),
                    ),
                )
            },
        ),
    },
    errors=frozenset(
        {
            Reason.MALFORMED_BODY,
            Reason.UNPROCESSABLE,
            Reason.INJECTED,
            Reason.DENIED,
            Reason.EXPECTATION,
            Reason.NOT_DURABLE,
            Reason.OVERLOADED,
            Reason.RATE_LIMITED,
            Reason.DEPENDENCY,
        }
    ),
    more={Reason.UNPROCESSABLE: NothingTaken, Reason.DENIED: NothingTaken},
    slash=True,
)

_COMPONENTS: Final = {
    "redis": ComponentReport(ok=True, detail=""),
    "kubernetes": ComponentReport(ok=True, detail=""),
}

STATUS_EXAMPLE: Final = Status(
    version="1.0.0",
    uptime_seconds=86400.5,
    process="3f1c9a0b7e",
    mode=Mode.NORMAL,
    ready=True,
    components=_COMPONENTS,
    warnings=[],
    queue=Queue(depth=0, failing=False),
    breakers={
        "redis": BreakerReport(state="closed"),
        "k8s_api": BreakerReport(state="closed"),
    },
    unconfirmed=0,
    slots=41,
    requests=57,
    windows=0,
    synced=True,
    tasks={"sweep": TaskReport(running=True, restarts=0, error="")},
)
WINDOW_EXAMPLE: Final = WindowReport(
    id=_WINDOW.id,
    group="prod-api/PodOOMKilled",
    state=WindowState.STORMING,
    members=7,
    threshold=3,
    opened_at="2026-01-31T09:00:00.000Z",
    last_member_at="2026-01-31T09:00:05.000Z",
    due_at=_WINDOW.due_at,
    due_in=42.5,
    spilled=0,
)

STATUS: Final = Operation(
    name="getStatus",
    tag=STATE,
    summary="The state of everything",
    description="From memory: it asks neither Redis nor Kubernetes, so it answers when both are away.",
    answers={
        200: Answered(
            description="Breakers, queue, windows, what is unconfirmed, tasks, warnings.",
            body=Status,
            examples={
                "calm": Example(
                    summary="All is well",
                    value=STATUS_EXAMPLE,
                )
            },
        )
    },
)

STORMS: Final = Operation(
    name="getStorms",
    tag=STATE,
    summary="The storm windows that collect",
    description="The next to end first. Redis is asked.",
    answers={
        200: Answered(
            description="The windows.",
            body=Storms,
            examples={
                "one": Example(
                    summary="A storm",
                    value=Storms([WINDOW_EXAMPLE]),
                )
            },
        )
    },
    errors=frozenset({Reason.DEPENDENCY}),
)

ALERT: Final = Operation(
    name="getAlert",
    tag=STATE,
    summary="The fate of one alert",
    description=(
        "What this process sees in Kubernetes, and what Redis holds for all replicas. Where Redis does not answer, "
        "`redis.state` is `unknown` and the rest is told all the same."
    ),
    parameter=Parameter(
        description="64 hexadecimal digits: the problem, as answers to webhooks and requests name it.",
        schema={"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
        example=FINGERPRINT,
    ),
    answers={
        200: Answered(
            description="What is known.",
            body=AlertReport,
            examples={
                "written": Example(
                    summary="Counted on an open request",
                    value=AlertReport(
                        fingerprint=FINGERPRINT,
                        unconfirmed=0,
                        requests=[
                            RequestReport(
                                namespace=_REQUEST.namespace,
                                name=_REQUEST.name,
                                generation=1,
                                phase="Processing",
                                open=True,
                                occurrence_count=17,
                            )
                        ],
                        storms=[],
                        window=None,
                        redis=RecordReport(state=RecordState.SETTLED, generation=1, unwritten=0, attempts=0),
                    ),
                ),
                "held": Example(
                    summary="Waits in a storm window",
                    value=AlertReport(
                        fingerprint=FINGERPRINT,
                        unconfirmed=1,
                        requests=[],
                        storms=[],
                        window=_WINDOW.id,
                        redis=RecordReport(
                            state=RecordState.HELD,
                            unwritten=1,
                            attempts=0,
                            window=HeldReport(
                                id=_WINDOW.id,
                                group="prod-api/PodOOMKilled",
                                state=WindowState.STORMING,
                                members=7,
                                due_at=_WINDOW.due_at,
                            ),
                        ),
                    ),
                ),
            },
        )
    },
    errors=frozenset({Reason.PARAMETER, Reason.NOT_FOUND, Reason.DEPENDENCY}),
)

ALIVE: Final = Operation(
    name="getHealth",
    tag=HEALTH,
    summary="Whether the process lives",
    description="200 as long as it serves requests, whatever else is away.",
    answers={
        200: Answered(
            description="It lives.",
            body=Alive,
            examples={"ok": Example(summary="It lives", value=Alive())},
        )
    },
)

READY: Final = Operation(
    name="getReadiness",
    tag=HEALTH,
    summary="Whether alerts can be accepted",
    description="One line a component. From memory, by the breakers: a single call that fails makes nobody unready.",
    answers={
        200: Answered(
            description="Alerts can be accepted, in whichever way.",
            body=Ready,
            examples={"ready": Example(summary="All is well", value=Ready("ready", _COMPONENTS, []))},
        )
    },
    errors=frozenset({Reason.NOT_READY, Reason.STOPPING}),
    more={Reason.NOT_READY: NotReady, Reason.STOPPING: NotReady},
)

METRICS: Final = Operation(
    name="getMetrics",
    tag=HEALTH,
    summary="All metrics",
    description="On a listener of its own (`server.metrics_port`). OpenMetrics text where `Accept` asks for it.",
    answers={
        200: Answered(
            description="Prometheus or OpenMetrics text.",
            media=("text/plain", "application/openmetrics-text"),
        )
    },
)

DESCRIPTION: Final = Operation(
    name="getDescription",
    tag=ABOUT,
    summary="This description",
    description="OpenAPI 3.1, generated from the routes and from the types that decode and encode.",
    answers={200: Answered(description="An OpenAPI document.")},
)

PAGE: Final = Operation(
    name="getPage",
    tag=ABOUT,
    summary="This description as a page",
    description="Swagger UI; everything that it loads comes from here.",
    answers={200: Answered(description="A page.", media=("text/html",))},
)

ASSET: Final = Operation(
    name="getAsset",
    tag=ABOUT,
    summary="What the page is made of",
    parameter=Parameter(
        description="The name of a file.", schema={"type": "string"}, example="swagger-ui.css"
    ),
    answers={200: Answered(description="The file.", media=("text/css", "text/javascript", "image/png"))},
    errors=frozenset({Reason.NOT_FOUND}),
)
