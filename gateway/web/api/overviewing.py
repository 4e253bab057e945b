"""What the routes of the status page say of themselves."""

from __future__ import annotations

from typing import Final

from gateway.engine.reports import RecentRequest
from gateway.resilience.faults import FaultMode, FaultTarget
from gateway.web.api.operations import ABOUT, FINGERPRINT, STATE, STATUS_EXAMPLE, WINDOW_EXAMPLE
from gateway.web.api.words import JSON, Answered, Example, Operation, Parameter
from gateway.web.page.overview import FaultReport, Overview, Totals
from gateway.web.problems import Reason

PAGE: Final = Operation(
    name="getStatusPage",
    tag=ABOUT,
    summary="The status page",
    description="For people. It holds no state itself: its script asks for `/v1/overview`.",
    answers={200: Answered(description="A page.", media=("text/html",))},
)

ASSET: Final = Operation(
    name="getStatusPageAsset",
    tag=ABOUT,
    summary="What the status page is made of",
    parameter=Parameter(description="The name of a file.", schema={"type": "string"}, example="page.css"),
    answers={200: Answered(description="The file.", media=("text/css", "text/javascript", "image/svg+xml"))},
    errors=frozenset({Reason.NOT_FOUND}),
)

OVERVIEW: Final = Operation(
    name="getOverview",
    tag=STATE,
    summary="What the status page shows",
    description=(
        "Once, as JSON; or, where `Accept` holds `text/event-stream`, again every second as server-sent events: "
        "`overview`, whose data is the same JSON, and `end`, after which the stream does. A stream ends when the "
        "gateway stops, and soon after its credential was taken back. There are 32 at most; the next one is refused."
    ),
    answers={
        200: Answered(
            description="The overview.",
            body=Overview,
            media=(JSON, "text/event-stream"),
            examples={
                "storm": Example(
                    summary="A storm, and Redis is made slow",
                    value=Overview(
                        at="2026-01-31T09:00:22.500000000Z",
                        status=STATUS_EXAMPLE,
                        totals=Totals(
                            received=1250, created=57, deduplicated=1102, resolved=31, denied=4, invalid=0
                        ),
                        windows=[WINDOW_EXAMPLE],
                        recent=[
                            RecentRequest(
                                namespace="prod-api",
                                name="rr-podoomkilled-6a9dd7e5c3-1",
                                fingerprint=FINGERPRINT,
                                signal="PodOOMKilled",
                                generation=1,
                                phase="Processing",
                                open=True,
                                resolved=False,
                                problems=None,
                                occurrence_count=17,
                                unconfirmed=0,
                                taken_seconds_ago=4.2,
                            )
                        ],
                        faults=[
                            FaultReport(
                                target=FaultTarget.REDIS,
                                mode=FaultMode.LATENCY,
                                pct=30.0,
                                delay_seconds=0.5,
                                remaining_seconds=287.4,
                                calls=1250,
                                struck=381,
                            )
                        ],
                    ),
                )
            },
        )
    },
    errors=frozenset({Reason.OVERLOADED}),
)
