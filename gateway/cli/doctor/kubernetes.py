"""What `gateway doctor` asks the Kubernetes API: that it answers, serves requests as the gateway writes them, and lets
the gateway do what it does.

The one write is only rehearsed by the API server (`dryRun`): it meets the same permissions, quotas, admission webhooks
and schema as a real one, and stores nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from gateway.cli.doctor import permissions, schema
from gateway.cli.doctor.clocks import clock
from gateway.cli.doctor.permissions import Review
from gateway.cli.doctor.timing import limited, measured, overdue
from gateway.errors import (
    ConfigurationError,
    KubeAlreadyExists,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNamespaceMissing,
    KubeNotFound,
)
from gateway.kube import objects
from gateway.kube.connection import Call, Connection, Timeouts
from gateway.kube.observing import Verb
from gateway.model import API_GROUP, API_VERSION, PLURAL, Severity, Signal
from gateway.resilience.diagnosis import Diagnosis, Grade

if TYPE_CHECKING:
    from gateway.config.settings import Kubernetes

ANSWER: Final = 5.0
"""Seconds that an answer may take."""
LIMIT: Final = 15.0
"""Seconds for one check; some ask several times."""
LISTS: Final = 20
SLOW: Final = 1.0
"""Seconds from which on a small list is slow."""
MOST_FAULTS: Final = 3
"""Faults of a schema that a line names at most."""
INSTALL: Final = "kubectl apply -f deploy/crds/remediationrequests.yaml"

_SERVED = f"/apis/{API_GROUP}/{API_VERSION}"
_OPENAPI = f"/openapi/v3/apis/{API_GROUP}/{API_VERSION}"
_NAME = f"{PLURAL}.{API_GROUP}"
_WHEN = "2026-01-01T00:00:00.000000000Z"


async def examine(settings: Kubernetes, reviews: Sequence[Review] = ()) -> list[Diagnosis]:
    """Everything about Kubernetes; `reviews` are what authentication asks it for. Raises nothing but for a bug."""
    where = settings.kubeconfig or "the account in use"
    connection = Connection(
        kubeconfig=settings.kubeconfig,
        context=settings.context,
        timeouts=Timeouts(connect=ANSWER / 2, call=ANSWER),
    )
    try:
        late = overdue("kubernetes", "credentials", where, LIMIT)
        found = await limited(_opened(connection, where), late, LIMIT)
        if connection.host:
            found += await _Patient(connection, settings, reviews).examine()
        return found
    finally:
        await connection.close()


async def _opened(connection: Connection, where: str) -> list[Diagnosis]:
    try:
        await connection.open()
    except ConfigurationError as error:
        remedy = "set kubernetes.kubeconfig and kubernetes.context, or KUBECONFIG"
        return [Diagnosis("kubernetes", "credentials", where, Grade.WRONG, str(error), remedy)]
    return []


class _Patient:
    """The API server, being asked."""

    def __init__(self, connection: Connection, settings: Kubernetes, reviews: Sequence[Review]) -> None:
        self._connection = connection
        self._reviews = reviews
        self._events = settings.events
        self._where = connection.host
        self._fallback = settings.fallback_namespace
        # Requests without a namespace of their own go to the fallback one, so that is served, too.
        self._namespaces: Sequence[str] = (
            tuple(dict.fromkeys((*settings.namespaces, settings.fallback_namespace)))
            if settings.namespaces
            else ()
        )

    async def examine(self) -> list[Diagnosis]:
        """Each check in its time; where nobody answers or knows the account, there is only the first."""
        found = await self._limited("connection", self._reached())
        if found[0].grade is Grade.WRONG:
            return found
        served = await self._limited("crd", self._definition())
        found += served
        found += await self._limited(
            "permissions",
            permissions.examine(
                self._connection,
                self._namespaces,
                self._where,
                ANSWER,
                reviews=self._reviews,
                events=self._events,
            ),
        )
        found += await self._limited("fallback-namespace", self._homes())
        if served[0].grade is not Grade.WRONG:
            found += await self._limited("writes", self._rehearsed())
            found += await self._limited("latency", self._latency())
        return found

    async def _limited(self, check: str, examination: Any) -> list[Diagnosis]:
        return await limited(examination, overdue("kubernetes", check, self._where, LIMIT), LIMIT)

    async def _reached(self) -> list[Diagnosis]:
        sent = time.time()
        try:
            told = await self._ask(Verb.GET, "/version")
            version = told["gitVersion"]
        except KubeForbidden as error:
            if error.status == 403:
                found = f"answers; its version cannot be seen: {error}"
                return [self._warning("connection", self._where, found, "grant system:public-info-viewer")]
            remedy = "renew the credentials of the kubeconfig or of the service account"
            return [self._wrong("connection", self._where, f"does not know the account: {error}", remedy)]
        except KubeError as error:
            remedy = "see that it runs, and that the kubeconfig, its certificates and the network are right"
            return [self._wrong("connection", self._where, str(error), remedy)]
        except (ValueError, KeyError, TypeError):
            found = "what answers there is no Kubernetes API"
            return [self._wrong("connection", self._where, found, "see the server in the kubeconfig")]
        apart = clock(self._connection.date, sent, time.time(), self._where)
        return [self._ok("connection", self._where, f"Kubernetes {version}"), apart]

    async def _definition(self) -> list[Diagnosis]:
        try:
            told = await self._ask(Verb.GET, _SERVED)
        except KubeError as error:
            if error.status == 404:
                return [await self._not_served()]
            return [self._unseen("crd", _NAME, error)]
        except ValueError as error:
            return [self._unseen("crd", _NAME, error)]
        resources = {one.get("name"): one for one in told.get("resources") or () if isinstance(one, dict)}
        if PLURAL not in resources:
            return [self._wrong("crd", _NAME, f"{API_VERSION} does not serve {PLURAL}", INSTALL)]
        if not resources[PLURAL].get("namespaced"):
            found = "its scope is the cluster, and the gateway writes into namespaces"
            return [self._wrong("crd", _NAME, found, f"delete that definition, and {INSTALL}")]
        if f"{PLURAL}/status" not in resources:
            found = (
                f"{API_VERSION} has no subresource status: controllers and the gateway overwrite each other"
            )
            return [self._wrong("crd", _NAME, found, INSTALL)]
        return [self._ok("crd", _NAME, f"{API_VERSION} is served"), await self._fields()]

    async def _not_served(self) -> Diagnosis:
        try:
            told = await self._ask(Verb.GET, f"/apis/{API_GROUP}")
            versions = ", ".join(one["version"] for one in told["versions"])
        except (KubeError, ValueError, KeyError, TypeError):
            return self._wrong("crd", _NAME, "the definition is not installed", INSTALL)
        found = f"{API_VERSION} is not served, only {versions}"
        return self._wrong("crd", _NAME, found, f"let it serve {API_VERSION}, too, or {INSTALL}")

    async def _fields(self) -> Diagnosis:
        try:
            spec = schema.spec_of(await self._ask(Verb.GET, _OPENAPI))
        except (KubeError, ValueError) as error:
            if isinstance(error, KubeError) and error.status == 404:
                # A server publishes the schema of a new definition after a moment.
                return self._unseen("crd-fields", _NAME, "its schema is not published, or not yet")
            return self._unseen("crd-fields", _NAME, error)
        if spec is None:
            return self._unseen("crd-fields", _NAME, "the published schema does not have it")
        faults = schema.faults(spec)
        if faults:
            more = len(faults) - MOST_FAULTS
            found = "; ".join(faults[:MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")
            return self._wrong("crd-fields", _NAME, found, INSTALL)
        return self._ok("crd-fields", _NAME, f"all {len(schema.WRITTEN)} that the gateway writes")

    async def _homes(self) -> list[Diagnosis]:
        """Whether the fallback namespace exists, and those that are configured."""
        found = []
        for namespace in self._namespaces or (self._fallback,):
            fallback = namespace == self._fallback
            check = "fallback-namespace" if fallback else "namespace"
            try:
                exists = await self._exists(namespace)
            except (KubeError, ValueError) as error:
                found.append(self._unseen(check, namespace, error))
                continue
            if exists:
                if fallback:
                    found.append(self._ok(check, namespace, "exists"))
            elif fallback:
                text = "does not exist: requests of alerts without a namespace cannot be written"
                remedy = f"kubectl create namespace {namespace}, or set kubernetes.fallback_namespace"
                found.append(self._wrong(check, namespace, text, remedy))
            else:
                remedy = "create it, or take it out of kubernetes.namespaces"
                found.append(self._warning(check, namespace, "does not exist", remedy))
        return found

    async def _exists(self, namespace: str) -> bool:
        """Asked by a list, which the gateway needs anyway, else by a get. Raises `KubeError` and `ValueError`."""
        try:
            told = await self._ask(
                Verb.LIST, "/api/v1/namespaces", fieldSelector=f"metadata.name={namespace}"
            )
            return bool(told.get("items"))
        except KubeForbidden:
            try:
                await self._ask(Verb.GET, f"/api/v1/namespaces/{quote(namespace, safe='')}")
            except (KubeNotFound, KubeNamespaceMissing):
                return False
            return True

    async def _rehearsed(self) -> list[Diagnosis]:
        """Whether a request could be created in the fallback namespace."""
        path = f"{_SERVED}/namespaces/{quote(self._fallback, safe='')}/{PLURAL}"
        params = {"dryRun": "All", "fieldManager": objects.FIELD_MANAGER, "fieldValidation": "Ignore"}
        call = Call(Verb.PROBE, "POST", path, params, _sample(self._fallback))
        where = f"namespace {self._fallback}"
        try:
            await self._connection.call(call, timeout=ANSWER)
        except KubeAlreadyExists:
            pass
        except (KubeForbidden, KubeNamespaceMissing) as error:
            # What is missing is a check of its own; here it only means that nothing was rehearsed.
            return [self._unseen("writes", where, error)]
        except KubeInvalid as error:
            if "dry run" in str(error):
                return [self._unseen("writes", where, error)]
            found = f"the API server refuses a request as the gateway writes it: {error}"
            remedy = "see the definition and the admission webhooks: such requests become dead letters"
            return [self._wrong("writes", where, found, remedy)]
        except KubeError as error:
            remedy = "see the API server, etcd, quotas and admission webhooks"
            return [self._wrong("writes", where, f"a rehearsed create failed: {error}", remedy)]
        return [self._ok("writes", where, "a rehearsed create passes")]

    async def _latency(self) -> list[Diagnosis]:
        path = f"{_SERVED}/namespaces/{quote(self._fallback, safe='')}/{PLURAL}"
        try:
            latency = await measured(
                lambda: self._ask(Verb.LIST, path, limit="1"), times=LISTS, seconds=ANSWER
            )
        except (KubeError, ValueError) as error:
            return [self._unseen("latency", self._where, error)]
        if latency.median > SLOW:
            remedy = "see the load of the API server and of etcd, and the network between"
            found = f"{latency}: the queue will be long in a storm"
            return [self._warning("latency", self._where, found, remedy)]
        return [self._ok("latency", self._where, str(latency))]

    async def _ask(self, verb: Verb, path: str, **params: str) -> dict[str, Any]:
        """The JSON object that a GET answers with. Raises `KubeError`, and `ValueError` where it is none."""
        answer = json.loads(await self._connection.call(Call(verb, "GET", path, params), timeout=ANSWER))
        if not isinstance(answer, dict):
            raise ValueError("the answer is no JSON object")  # noqa: TRY004 - it is remote data
        return answer

    def _ok(self, check: str, where: str, found: str) -> Diagnosis:
        return Diagnosis("kubernetes", check, where, Grade.OK, found)

    def _warning(self, check: str, where: str, found: str, remedy: str) -> Diagnosis:
        return Diagnosis("kubernetes", check, where, Grade.WARNING, found, remedy)

    def _wrong(self, check: str, where: str, found: str, remedy: str) -> Diagnosis:
        return Diagnosis("kubernetes", check, where, Grade.WRONG, found, remedy)

    def _unseen(self, check: str, where: str, reason: object) -> Diagnosis:
        remedy = "look for yourself, as somebody who may see it"
        found = f"cannot be seen: {reason}"
        return Diagnosis("kubernetes", check, where, Grade.WARNING, found, remedy, seen=False)


def _sample(namespace: str) -> bytes:
    """A request like any other, which is never stored."""
    signal = Signal(
        fingerprint="0" * 64,
        alertname="GatewayDoctor",
        namespace=namespace,
        group="",
        labels={"alertname": "GatewayDoctor", "namespace": namespace},
        annotations={},
        severity=Severity.INFO,
        environment="unknown",
        priority="P3",
        starts_at=_WHEN,
        received_at=_WHEN,
    )
    return objects.create_body(
        signal,
        namespace=namespace,
        name="gateway-doctor",
        generation=1,
        applied='{"0":{}}',
        count=1,
        first_seen=_WHEN,
        last_seen=_WHEN,
    )
