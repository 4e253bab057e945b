"""What strangers send never forges a line of the log, steers a terminal or shows a secret, in either format."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.integration.load import PATH, webhook
from tests.integration.sight import UNHURRIED, body, fires
from tests.rig.fixtures import StartGateway
from tests.unit.web.auth.tokens import pem, signing, token, unsigned

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
SECRET = "Hunter2xyz"
"""In every secret of this module, so that one look finds them all."""
FORGED = (
    'x\n{"ts":"2026-01-31T09:00:00Z","level":"error","msg":"forged"}\n'
    "2026-01-31T09:00:00.000000Z [error    ] forged\n"
    "\r\x1b[2K\x1b[31m\x1b]0;title\x07\x9b31m\u202e\u2028\u2029\x85\x00end"
)
LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[(?:debug|info|warning|error) *\] \S")


def secrets(folder: Path) -> Mapping[str, str]:
    """Texts with a secret each, of the shapes that people and machines leave behind."""
    key = folder / "other.key"
    key.write_bytes(pem())
    pair = base64.b64encode(f"admin:{SECRET}".encode()).decode()
    kind = "RSA PRIVATE KEY"
    return {
        "a pair": f"login failed: password={SECRET}",
        "a quoted pair": json.dumps({"db_password": SECRET, "token": f"{SECRET} {SECRET}"}),
        "a bearer token": f"Authorization: Bearer {SECRET}",
        "a bearer token alone": f"Bearer {SECRET}.{SECRET}",
        "a password": f"Basic {pair}",
        "a signed token": token(signing(key), sub=SECRET),
        "an unsigned token": unsigned(token(signing(key), sub=SECRET)),
        "a key of AWS": f"AKIA{SECRET.upper()}ABCDEF",
        "a private key": f"-----BEGIN {kind}-----\n{SECRET}\n-----END {kind}-----",
        "a URL": f"postgres://app:{SECRET}@db/shop",
        "a signed URL": f"https://store.example/x?X-Amz-Signature={SECRET}&y=1",
    }


def shown(text: str) -> list[str]:
    """The secrets in a text: as they are, in capitals, and in base64 of each alignment."""
    found = [form for form in (SECRET, SECRET.upper()) if form in text]
    for shift in range(3):
        coded = base64.b64encode(b" " * shift + SECRET.encode()).decode()[4:-4]
        found += [coded] if coded in text else []
    return found


@pytest.fixture
def repeating(cluster: Api, namespace: str) -> Iterator[None]:
    """The API server refuses requests whose alert has a label `note`, and repeats its labels in the error."""
    name = f"repeating-{namespace}"
    requests = {
        "apiGroups": ["remediation.kubernaut.io"],
        "apiVersions": ["*"],
        "operations": ["CREATE"],
        "resources": ["remediationrequests"],
    }
    repeat = (
        "'signalLabels[password]: Invalid value: \"' + object.spec.signalLabels['note'] + '\" is refused'"
    )
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [requests]},
        "validations": [{"expression": "!('note' in object.spec.signalLabels)", "messageExpression": repeat}],
    }
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    cluster.call("POST", POLICIES, {**version, "kind": "ValidatingAdmissionPolicy", "spec": spec})
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    cluster.call("POST", BINDINGS, {**version, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound})
    yield
    cluster.call("DELETE", f"{BINDINGS}/{name}")
    cluster.call("DELETE", f"{POLICIES}/{name}")


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.usefixtures("repeating")
def test_nothing_that_is_sent_forges_a_line_or_shows_a_secret(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
    form: str,
) -> None:
    tokens, key = tmp_path / "tokens", tmp_path / "token.key"
    tokens.write_text(f"alertmanager:{SECRET}\n")
    key.write_bytes(pem())
    settings = {
        **UNHURRIED,  # on the direct way, what the API server refuses is answered and is no dead letter
        "log": {"level": "debug", "format": form},
        "auth": {"mode": ["bearer", "jwt"], "tokens_file": str(tokens), "jwt": {"key_file": str(key)}},
    }
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    known = {"Authorization": f"Bearer {SECRET}"}
    texts = {**secrets(tmp_path), "a forged line": FORGED}

    for text in texts.values():
        send(gateway, text, known, namespace)
    refused_by_the_cluster(gateway, namespace, known, texts)
    answers = [answer for text in texts.values() for answer in knock(gateway, text)]
    tokens.write_text(f"alertmanager {SECRET}\nx:{SECRET} {SECRET}\n")
    gateway.config_path.write_text(
        f"redis: {{url: 'redis://u:{SECRET}@h:x/0'}}\npolicy: {{default: 'password={SECRET}'}}\n"
    )
    wait_until(
        lambda: b"cannot be used" in gateway.get("/readyz")[1], "the faults to be told", seconds=30, every=0.2
    )
    wait_until(
        lambda: (
            gateway.post(PATH, body(fires(namespace)), headers=known)[0]
            and "auth.tokens_file" in gateway.log()
        ),
        "the tokens to be read again",
        seconds=30,
        every=0.5,
    )

    log = gateway.log()
    assert_lines(log.splitlines(keepends=True), form)
    assert shown(log) == []
    assert shown(gateway.get("/readyz")[1].decode()) == []
    assert [answer for answer in answers if shown(answer)] == []
    # All of it was logged, or this shows nothing.
    for told in ("left out alerts", "credentials refused", "request refused", "redis.url", "is refused"):
        assert told in log
    assert log.count("left out alerts") >= len(texts)


def send(gateway: GatewayProcess, text: str, headers: Mapping[str, str], namespace: str) -> None:
    """Webhooks that say such a thing wherever they can: one that is taken, and one that is not."""
    alerts = [
        fires(namespace, pod=f"p-{uuid.uuid4().hex[:8]}", detail=text),
        fires(text),
        {"labels": {text: 1}},
    ]
    whole = {**webhook(*alerts), "receiver": text, "truncatedAlerts": 1, "groupKey": text}
    status, _ = gateway.post(PATH, whole, headers=headers)
    assert status in (201, 202)
    assert gateway.post(PATH, {"alerts": [{"labels": {text: 1}}]}, headers=headers)[0] == 422


def refused_by_the_cluster(
    gateway: GatewayProcess, namespace: str, headers: Mapping[str, str], texts: Mapping[str, str]
) -> None:
    """Requests that the API server refuses for good, saying why with their labels."""
    before = gateway.metric("gateway_dead_letters_total")

    def refused() -> bool:
        # The policy comes into force some time after it was stored.
        gateway.post(PATH, body(fires(namespace, pod=uuid.uuid4().hex, note="x")), headers=headers)
        return gateway.metric("gateway_dead_letters_total") > before

    wait_until(refused, "the policy to be in force", seconds=30, every=0.3)
    before = gateway.metric("gateway_dead_letters_total")
    for text in texts.values():
        gateway.post(PATH, body(fires(namespace, pod=uuid.uuid4().hex, note=text)), headers=headers)
    wait_until(
        lambda: gateway.metric("gateway_dead_letters_total") >= before + len(texts), "the letters", every=0.2
    )


def knock(gateway: GatewayProcess, text: str) -> list[str]:
    """Requests that are not let in, with such a thing in each place of them; what is answered."""
    line = "".join(
        character if character.isprintable() and ord(character) < 256 else "." for character in text
    )
    path = re.sub(r"[^\w.=&?%-]", "-", text, flags=re.ASCII)
    return [
        # The id of a request is the sender's own, where it looks like one, and comes back to it.
        gateway.call(method, where, b"{", headers)[1].decode().replace(text, "")
        for method, where, headers in (
            ("POST", PATH, {"Authorization": f"Bearer {line}"}),
            ("POST", PATH, {"Authorization": line}),
            ("POST", PATH, {"X-Request-Id": line, "User-Agent": line}),
            ("GET", f"/{path}", {}),
            ("GET", f"/v1/alerts/{path}", {}),
            ("GET", f"{PATH}?token={path}", {}),
        )
    ]


def assert_lines(lines: list[str], form: str) -> None:
    """Each line is one of the gateway's own, and printable."""
    for line in lines:
        assert line.endswith("\n")
        assert line[:-1].isprintable(), line
        if form == "json":
            assert json.loads(line)["msg"] != "forged"
        else:
            assert LINE.match(line), line
            assert not re.match(LINE.pattern[:-2] + "forged", line), line
