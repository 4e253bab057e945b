"""A validating admission webhook of the cluster refuses requests, under load: they are kept among the dead letters, and
written once it is gone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chaos.faults.certificates import issue
from chaos.faults.upstream import load_certificate
from chaos.rig.api import Api, Json
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually, wait_until
from tests.integration.commands import gateway as command
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import settled
from tests.integration.windows import total
from tests.rig.fixtures import StartGateway

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
REQUESTS = "/apis/remediation.kubernaut.io/v1alpha1/namespaces/{}/remediationrequests"
REFUSED = "known-3", "fresh-"
"""Pods whose requests it refuses: to be counted on, and to be made."""
REASON = "not while the audit goes on"
PATIENT = {**SETTINGS, "redis": {"timeout": "2s"}}
"""Redis is well here: what it did not take in time would be written at once, and that refusal buries nothing."""
DEAD = "gateway_dead_letters_total"


class Refusing:
    """An HTTPS server that answers admission reviews, and the cluster's configuration that sends it those of one
    namespace. It refuses requests about some pods and admits all others."""

    def __init__(self, cluster: Api, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = f"refusing-{namespace}"
        self.refused = 0
        issued = issue(["127.0.0.1"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        load_certificate(context, issued.certificate, issued.key)
        self._authority = issued.authority
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def install(self) -> None:
        """Waits until it is in force."""
        rule = {
            "apiGroups": ["remediation.kubernaut.io"],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["remediationrequests"],
        }
        webhook = {
            "name": "refusing.example.com",
            "clientConfig": {
                "url": f"https://127.0.0.1:{self._server.server_address[1]}/validate",
                "caBundle": base64.b64encode(self._authority.encode()).decode(),
            },
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 5,
        }
        self._cluster.call(
            "POST",
            WEBHOOKS,
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": self._name},
                "webhooks": [webhook],
            },
        )
        wait_until(lambda: REASON in self.rehearsed(), "the webhook to be in force", seconds=30, every=0.2)

    def uninstall(self) -> None:
        """Waits until it is out of force; nothing where it is not installed."""
        self._cluster.send("DELETE", f"{WEBHOOKS}/{self._name}")
        wait_until(lambda: REASON not in self.rehearsed(), "the webhook to be gone", seconds=30, every=0.2)

    def stop(self) -> None:
        self.uninstall()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def rehearsed(self) -> str:
        """What the API server says to a request that the webhook refuses, without storing it."""
        times = {"firstSeen": "2026-01-31T09:00:00Z", "lastSeen": "2026-01-31T09:00:00Z"}
        spec = {
            "signalFingerprint": "0" * 64,
            "signalName": "Probe",
            "severity": "info",
            "environment": "test",
            "priority": "P3",
            "signalType": "prometheus",
            "targetType": "kubernetes",
            "firingTime": "2026-01-31T09:00:00Z",
            "receivedTime": "2026-01-31T09:00:00Z",
            "deduplication": {"isDuplicate": False, "occurrenceCount": 1, **times},
            "signalLabels": {"pod": REFUSED[0]},
        }
        probe = {
            "apiVersion": "remediation.kubernaut.io/v1alpha1",
            "kind": "RemediationRequest",
            "metadata": {"name": "probe"},
            "spec": spec,
        }
        path = REQUESTS.format(self._namespace) + "?dryRun=All"
        return str(self._cluster.send("POST", path, probe)[1].get("message", ""))

    def _judge(self, review: Json) -> Json:
        asked = review["request"]
        pod = asked["object"]["spec"].get("signalLabels", {}).get("pod", "")
        answer: dict[str, Any] = {"uid": asked["uid"], "allowed": not pod.startswith(REFUSED)}
        if not answer["allowed"]:
            self.refused += not asked.get("dryRun")
            answer["status"] = {"code": 403, "message": REASON}
        return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        judge = self._judge

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(judge(review)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Nothing of it belongs into the report."""

        return Handler


@contextlib.contextmanager
def refusing(cluster: Api, namespace: str) -> Iterator[Refusing]:
    found = Refusing(cluster, namespace)
    try:
        yield found
    finally:
        found.stop()


def dead_letters(redis: RedisServer, *arguments: str) -> Any:
    done = command("dead-letters", *arguments, "--output", "json", "--set", f"redis.url={redis.url}")
    return json.loads(done.stdout)


async def test_what_a_webhook_refuses_under_load_is_a_dead_letter_and_written_when_it_is_gone(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    gateways = [start_gateway(redis=redis_server, cluster=cluster, settings=PATIENT) for _ in range(2)]

    with refusing(cluster, namespace) as webhook:
        async with ordeal(gateways, cluster, namespace, tmp_path, rate=20) as test:
            await asyncio.to_thread(webhook.install)
            await asyncio.sleep(6)
            letters = await asyncio.to_thread(dead_letters, redis_server)
            await asyncio.to_thread(webhook.uninstall)
            # A letter that came later would not be tried again by anybody.
            await eventually(
                lambda: total(gateways, DEAD) == webhook.refused, "the last one to be buried", seconds=30
            )
            began = time.monotonic()

            async def emptied() -> bool:
                await asyncio.to_thread(dead_letters, redis_server, "retry")
                return await asyncio.to_thread(dead_letters, redis_server) == []

            await eventually(emptied, "no dead letter to be left", seconds=30)
            retried = time.monotonic() - began
        await settled(*gateways)
    test.tell(f"{len(letters)} dead letters, {webhook.refused} refusals", retried=retried)

    assert {one["alert"] for one in letters} == {"Known", "Fresh"}
    assert all(REASON in one["reason"] for one in letters)
    buried = total(gateways, DEAD)
    assert buried >= len(letters) > 10
    # Each was refused once: what is a dead letter is not tried again by itself.
    assert webhook.refused == buried
    changes = total(gateways, "gateway_circuit_breaker_state_changes_total", component="k8s_api")
    assert changes == 0, "a verdict on one request says nothing against the API"
    assert test.load.refused == 0
