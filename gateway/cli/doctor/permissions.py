"""What the gateway's account may do in Kubernetes, asked of the API server itself (SelfSubjectAccessReview).

That asks the same authorizers as the call would, whatever they are, and needs no permission but to be somebody. What is
allowed in the whole cluster is asked for once; only what is not is asked for in each namespace.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

from gateway.errors import KubeError
from gateway.kube.connection import Call, Connection
from gateway.kube.observing import Verb
from gateway.model import API_GROUP, PLURAL
from gateway.resilience.diagnosis import Diagnosis, Grade

REQUEST_VERBS: Final = ("get", "list", "watch", "create", "patch", "delete")
NAMESPACE_VERBS: Final = ("list", "watch")
EVENT_VERBS: Final = ("create",)
Review = tuple[str, str]
"""API group and resource of something that is only asked (created, and never stored)."""
TOKEN_REVIEWS: Final[Review] = ("authentication.k8s.io", "tokenreviews")
ACCESS_REVIEWS: Final[Review] = ("authorization.k8s.io", "subjectaccessreviews")
AT_ONCE: Final = 8
"""Reviews under way at most."""
MOST_NAMED: Final = 5
"""Namespaces that a line names at most."""

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def examine(
    connection: Connection,
    namespaces: Sequence[str],
    where: str,
    seconds: float,
    *,
    reviews: Sequence[Review] = (),
    events: bool = True,
) -> list[Diagnosis]:
    """What is allowed. `namespaces`: where requests are read and written, none for all of them; `seconds` a call;
    `reviews`: which ones authentication asks for; `events`: whether such are wanted.
    """
    asked = _Reviews(connection, seconds)
    try:
        missing = await _missing(asked, API_GROUP, PLURAL, REQUEST_VERBS, namespaces)
        silent = await _missing(asked, "", "events", EVENT_VERBS, namespaces) if events else []
        unseen = await asked.denied("", "namespaces", "", NAMESPACE_VERBS)
        refused = [
            resource for group, resource in reviews if await asked.denied(group, resource, "", ("create",))
        ]
    except (KubeError, ValueError) as error:
        remedy = "allow selfsubjectaccessreviews, or ask kubectl auth can-i --as=… as somebody who may"
        found = f"cannot be asked for: {error}"
        return [Diagnosis("kubernetes", "permissions", where, Grade.WARNING, found, remedy, seen=False)]
    judged = [
        _diagnosis(
            "permissions",
            _named(places),
            Grade.WRONG,
            f"the account may not {', '.join(verbs)} {PLURAL}.{API_GROUP}",
            "grant it in a Role or ClusterRole, and bind that to the account"
            + (
                ""
                if namespaces
                else "; where it is to work in some namespaces only, set kubernetes.namespaces"
            ),
        )
        for verbs, places in missing
    ] or [_diagnosis("permissions", _named(namespaces), Grade.OK, f"all that are needed for {PLURAL}")]
    if unseen:
        judged.append(
            _diagnosis(
                "namespaces",
                "all namespaces",
                Grade.WARNING,
                f"the account may not {', '.join(unseen)} namespaces: environments from their labels stay unknown, "
                "and one that is missing is noticed at the write",
                "grant it in a ClusterRole",
            )
        )
    else:
        judged.append(_diagnosis("namespaces", "all namespaces", Grade.OK, "may be listed and watched"))
    judged += [
        _diagnosis(
            "events",
            _named(places),
            Grade.WARNING,
            f"the account may not {', '.join(verbs)} events: kubectl describe does not tell what became of a request",
            "grant it in a Role or ClusterRole, or set kubernetes.events to false",
        )
        for verbs, places in silent
    ]
    if events and not silent:
        judged.append(_diagnosis("events", _named(namespaces), Grade.OK, "may be created"))
    if refused:
        found = f"the account may not create {', '.join(refused)}: no sender can be known, and each is answered 503"
        judged.append(
            _diagnosis("reviews", "auth.mode", Grade.WRONG, found, "apply deploy/rbac-tokenreview.yaml")
        )
    elif reviews:
        judged.append(_diagnosis("reviews", "auth.mode", Grade.OK, "tokens may be reviewed"))
    return judged


async def _missing(
    reviews: _Reviews, group: str, resource: str, verbs: Sequence[str], namespaces: Sequence[str]
) -> list[tuple[tuple[str, ...], list[str]]]:
    """Verbs that are denied, and where; an empty list of places stands for all namespaces."""
    everywhere = await reviews.denied(group, resource, "", verbs)
    if not everywhere:
        return []
    if not namespaces:
        return [(everywhere, [])]
    denied = await asyncio.gather(
        *(reviews.denied(group, resource, place, everywhere) for place in namespaces)
    )
    missing: dict[tuple[str, ...], list[str]] = {}
    for place, refused in zip(namespaces, denied, strict=True):
        if refused:
            missing.setdefault(refused, []).append(place)
    return list(missing.items())


class _Reviews:
    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def denied(
        self, group: str, resource: str, namespace: str, verbs: Sequence[str]
    ) -> tuple[str, ...]:
        """Which of the verbs are not allowed. Raises `KubeError`, and `ValueError` for a strange answer."""
        allowed = await asyncio.gather(
            *(self._allowed(group, resource, namespace, verb) for verb in verbs), return_exceptions=True
        )
        for one in allowed:
            if isinstance(one, BaseException):
                raise one
        return tuple(verb for verb, may in zip(verbs, allowed, strict=True) if not may)

    async def _allowed(self, group: str, resource: str, namespace: str, verb: str) -> bool:
        attributes = {"group": group, "resource": resource, "namespace": namespace, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        call = Call(Verb.CREATE, "POST", _REVIEWS, {}, json.dumps(review).encode())
        async with self._turns:
            answer: Any = json.loads(await self._connection.call(call, timeout=self._seconds))
        status = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(status, dict):
            raise ValueError("the answer to an access review has no status")  # noqa: TRY004 - it is remote data
        return status.get("allowed") is True


def _named(namespaces: Sequence[str]) -> str:
    if not namespaces:
        return "all namespaces"
    more = len(namespaces) - MOST_NAMED
    listed = ", ".join(namespaces[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"namespace {listed}" if len(namespaces) == 1 else f"namespaces {listed}"


def _diagnosis(check: str, where: str, grade: Grade, found: str, remedy: str = "") -> Diagnosis:
    return Diagnosis("kubernetes", check, where, grade, found, remedy)
