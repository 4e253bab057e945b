"""What the routes of fault injection say of themselves."""

from __future__ import annotations

from typing import Final

from gateway.resilience.faults import MODES, FaultMode, FaultTarget
from gateway.web.api.operations import REHEARSALS
from gateway.web.api.words import Answered, Example, Operation, Parameter, Taken
from gateway.web.injections import ActiveFault, Faults, Injection
from gateway.web.problems import Reason

_FAULT: Final = ActiveFault(
    target=FaultTarget.REDIS,
    mode=FaultMode.LATENCY,
    pct=30.0,
    delay="500ms",
    ttl="5m",
    by="admin",
    remaining_seconds=287.4,
    calls=1250,
    struck=381,
)
_PAIRS: Final = "; ".join(f"`{target}`: {', '.join(modes)}" for target, modes in MODES.items())

INJECT: Final = Operation(
    name="injectFault",
    tag=REHEARSALS,
    summary="Inject a fault",
    description=(
        "From now on this process makes some of its own calls fail, in the place of what was injected into the target "
        f"before. What a target can do: {_PAIRS}. Only for identities in `chaos.admins`."
    ),
    takes=Taken(
        description="What is to fail, how, how often, and for how long.",
        body=Injection,
        examples={
            "timeout": Example(
                summary="Three in ten calls to Redis get no answer",
                value={"target": "redis", "mode": "timeout", "pct": 30, "ttl": "5m"},
                answer=201,
            ),
            "latency": Example(
                summary="Kubernetes is slow",
                value={"target": "kubernetes", "mode": "latency", "pct": 100, "delay": "500ms", "ttl": "1m"},
                answer=201,
            ),
            "senseless": Example(
                summary="Redis knows no 429",
                value={"target": "redis", "mode": "429", "pct": 30, "ttl": "5m"},
                answer=422,
            ),
        },
    ),
    answers={
        201: Answered(
            description="It acts.",
            body=ActiveFault,
            examples={"acts": Example(summary="It acts", value=_FAULT)},
        )
    },
    errors=frozenset({Reason.MALFORMED_BODY, Reason.UNPROCESSABLE, Reason.FORBIDDEN, Reason.EXPECTATION})
    | {Reason.OVERLOADED},
)

SHOW: Final = Operation(
    name="getFaults",
    tag=REHEARSALS,
    summary="The faults that act now",
    answers={
        200: Answered(
            description="One a target at most.",
            body=Faults,
            examples={
                "one": Example(summary="Redis is slow", value=Faults([_FAULT])),
                "none": Example(summary="Nothing is injected", value=Faults([])),
            },
        )
    },
    errors=frozenset({Reason.FORBIDDEN}),
)

END: Final = Operation(
    name="endFault",
    tag=REHEARSALS,
    summary="End a fault now",
    parameter=Parameter(
        description="What it was injected into.",
        schema={"type": "string", "enum": [target.value for target in FaultTarget]},
        example=FaultTarget.REDIS.value,
    ),
    answers={
        200: Answered(
            description="It is ended; this is what it did.",
            body=ActiveFault,
            examples={"ended": Example(summary="It is ended", value=_FAULT)},
        )
    },
    errors=frozenset({Reason.FORBIDDEN, Reason.NOT_FOUND}),
)
