"""Which requests a rule chooses: by the API's own words, and in the same sequence for the same seed."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaos.faults.asked import VERBS, Asked
from chaos.faults.certificates import issue
from chaos.faults.rules import Armed, Fault, Rule, rules_from_json
from chaos.faults.upstream import UnusableKubeconfig, Upstream, load_certificate

GROUP = "/apis/remediation.kubernaut.io/v1alpha1"
REQUESTS = f"{GROUP}/namespaces/prod/remediationrequests"


@pytest.mark.parametrize(
    ("method", "target", "verb", "where"),
    [
        ("GET", "/version", "get", ("", "", "", "")),
        ("GET", "/api", "get", ("", "", "", "")),
        ("GET", "/apis/apps/v1", "get", ("", "", "", "")),
        ("GET", "/api/v1/namespaces", "list", ("", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces?watch=1", "watch", ("", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces?watch=false", "list", ("", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/prod", "get", ("", "namespaces", "prod", "")),
        ("PUT", "/api/v1/namespaces/prod/finalize", "update", ("", "namespaces", "prod", "finalize")),
        ("GET", f"{REQUESTS}?limit=5&watch=true", "watch", ("prod", "remediationrequests", "", "")),
        ("GET", f"{GROUP}/remediationrequests", "list", ("", "remediationrequests", "", "")),
        ("POST", f"{REQUESTS}?fieldManager=x", "create", ("prod", "remediationrequests", "", "")),
        ("PATCH", f"{REQUESTS}/rr-1/status", "patch", ("prod", "remediationrequests", "rr-1", "status")),
        ("DELETE", f"{REQUESTS}/rr-1", "delete", ("prod", "remediationrequests", "rr-1", "")),
        ("DELETE", REQUESTS, "deletecollection", ("prod", "remediationrequests", "", "")),
    ],
)
def test_a_request_is_read_as_the_api_reads_it(
    method: str, target: str, verb: str, where: tuple[str, str, str, str]
) -> None:
    asked = Asked.of(method, target)
    assert asked.verb == verb
    assert (asked.namespace, asked.resource, asked.name, asked.subresource) == where


@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]), st.text())
def test_any_request_can_be_read(method: str, target: str) -> None:
    assert Asked.of(method, target).verb in VERBS


def test_a_rule_is_about_requests_for_which_all_of_it_holds() -> None:
    create = Asked.of("POST", REQUESTS)
    status = Asked.of("PATCH", f"{REQUESTS}/rr-1/status?fieldManager=x")
    listed = Asked.of("GET", f"{REQUESTS}?labelSelector=a%3Db")

    def chosen(**fields: Any) -> list[bool]:
        rule = Rule(Fault.RESET, **fields)
        return [rule.matches(asked) for asked in (create, status, listed)]

    assert chosen() == [True, True, True]
    assert chosen(write=True) == [True, True, False]
    assert chosen(write=False) == [False, False, True]
    assert chosen(verbs=("create", "list")) == [True, False, True]
    assert chosen(verbs=("create",), write=False) == [False, False, False]
    assert chosen(path="/status$") == [False, True, False]
    assert chosen(query="^fieldManager=") == [False, True, False]
    assert chosen(resource="remediationrequests") == [True, True, True]
    assert chosen(resource="namespaces") == [False, False, False]
    assert chosen(when=lambda asked: asked.name == "rr-1") == [False, True, False]


def test_rules_for_watches_are_about_nothing_else() -> None:
    assert not Rule(Fault.FREEZE).matches(Asked.of("GET", REQUESTS))
    assert Rule(Fault.FREEZE).matches(Asked.of("GET", f"{REQUESTS}?watch=1"))


WRITE = Asked.of("POST", REQUESTS)
READ = Asked.of("GET", REQUESTS)


def hits(armed: Armed, *asked: Asked) -> str:
    return "".join("x" if armed.decide(one).rule else "." for one in asked)


def test_one_seed_gives_one_sequence() -> None:
    rule = Rule(Fault.RESET, share=0.2)
    # This very sequence: a run that found something must be there again with the same seed in another version.
    assert hits(Armed([rule], seed=7), *[WRITE] * 40) == "..x.x....................x..........x.x."
    assert hits(Armed([rule], seed=8), *[WRITE] * 40) != hits(Armed([rule], seed=7), *[WRITE] * 40)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_a_share_is_that_share(share: float) -> None:
    found = hits(Armed([Rule(Fault.RESET, share=share)], seed=1), *[WRITE] * 4000).count("x") / 4000
    assert abs(found - share) <= 0.02
    assert share not in {0.0, 1.0} or found == share


@given(st.lists(st.booleans(), max_size=40))
def test_what_a_rule_does_to_writes_does_not_depend_on_the_reads_between(writes: list[bool]) -> None:
    rules = [Rule(Fault.CONFLICT, share=0.5, write=True), Rule(Fault.THROTTLED, share=0.5, write=False)]
    mixed = hits(Armed(rules), *[WRITE if write else READ for write in writes])
    alone = hits(Armed(rules), *[WRITE for write in writes if write])
    assert "".join(hit for hit, write in zip(mixed, writes, strict=True) if write) == alone


def test_the_first_rule_that_hits_decides_and_delays_add_up_before_it() -> None:
    armed = Armed(
        [
            Rule(Fault.DELAY, seconds=1),
            Rule(Fault.DELAY, seconds=2, write=True),
            Rule(Fault.CONFLICT, write=True),
            Rule(Fault.RESET),
            Rule(Fault.DELAY, seconds=4),
        ]
    )
    write, read = armed.decide(WRITE), armed.decide(READ)
    assert (write.rule, write.wait, write.delays) == (armed.rules[2], 3, 2)
    assert (read.rule, read.wait, read.delays) == (armed.rules[3], 1, 1)


def test_jitter_stays_within_its_bounds_and_moves() -> None:
    armed = Armed([Rule(Fault.DELAY, seconds=0.5, jitter=0.1)])
    waits = {armed.decide(WRITE).wait for _ in range(200)}
    assert 0.4 <= min(waits) < 0.45
    assert 0.55 < max(waits) <= 0.6


def test_skip_and_times_count_matching_requests() -> None:
    armed = Armed([Rule(Fault.RESET, write=True, skip=2, times=3)])
    assert hits(armed, WRITE, READ, WRITE, READ, *[WRITE] * 5) == "....xxx.."


def test_rules_are_the_same_after_a_way_through_json() -> None:
    rules = [
        Rule(Fault.ANSWER_LOST, share=0.2, verbs=("create", "patch"), resource="remediationrequests"),
        Rule(Fault.THROTTLED, retry_after=10, write=True, times=5, skip=1),
        Rule(Fault.DELAY, seconds=0.5, jitter=0.1, path="^/api/", query="x"),
    ]
    assert rules_from_json([rule.to_json() for rule in rules]) == rules
    assert rules[1].to_json() == {
        "fault": "throttled",
        "write": True,
        "skip": 1,
        "times": 5,
        "retry_after": 10,
    }
    with pytest.raises(ValueError, match="when"):
        Rule(Fault.RESET, when=lambda asked: asked.write).to_json()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "rules are a list"),
        (["reset"], r"rules\[0\]: a rule is an object"),
        ([{"fault": "reset"}, {"fault": "resett"}], r"rules\[1\]: fault: 'resett'"),
        ([{"share": 1}], r"fault: None"),
        ([{"fault": "reset", "shares": 0.2}], "unknown: shares"),
        ([{"fault": "reset", "share": 2}], "share"),
        ([{"fault": "reset", "share": True}], "share"),
        ([{"fault": "reset", "verbs": "create"}], "verbs"),
        ([{"fault": "reset", "verbs": [1]}], "verbs"),
        ([{"fault": "reset", "verbs": ["post"]}], "verbs: post unknown"),
        ([{"fault": "reset", "path": "("}], "path"),
        ([{"fault": "reset", "retry_after": 3}], "retry_after"),
        ([{"fault": "reset", "seconds": 3}], "seconds"),
        ([{"fault": "delay", "seconds": -3}], "not negative"),
        ([{"fault": "reset", "when": "x"}], "unknown: when"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(data: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rules_from_json(data)


def test_its_certificate_is_trusted_by_a_strict_client() -> None:
    issued = issue(["127.0.0.1", "localhost"])
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(server, issued.certificate, issued.key)
    client = ssl.create_default_context(cadata=issued.authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name, good in (("127.0.0.1", True), ("localhost", True), ("example.com", False)):
        here, there = socket.socketpair()

        def serve(peer: socket.socket = there) -> None:
            try:
                server.wrap_socket(peer, server_side=True).close()
            except OSError:
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            if good:
                client.wrap_socket(here, server_hostname=name).close()
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    client.wrap_socket(here, server_hostname=name)
        finally:
            here.close()
            thread.join()


def test_a_kubeconfig_is_read_with_files_beside_it_and_written_without_its_certificate(
    tmp_path: Path,
) -> None:
    issued = issue(["127.0.0.1"])
    (tmp_path / "ca.crt").write_text(issued.authority)
    (tmp_path / "client.crt").write_text(issued.certificate)
    (tmp_path / "client.key").write_text(issued.key)
    user = {
        "client-certificate": "client.crt",
        "client-key": "client.key",
        "tokenFile": "token",
        "as": "someone",
    }
    content = {
        "current-context": "other",
        "contexts": [{"name": "it", "context": {"cluster": "c", "user": "u", "namespace": "prod"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://api:6443/", "certificate-authority": "ca.crt"}}
        ],
        "users": [{"name": "u", "user": user}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    upstream = Upstream.read(path, "it")
    assert (upstream.url, upstream.ca) == ("https://api:6443", issued.authority)
    assert (upstream.certificate, upstream.key) == (issued.certificate, issued.key)
    assert upstream.tls() is not None
    proxied = upstream.kubeconfig("https://127.0.0.1:1", issued.authority)
    assert proxied["users"][0]["user"] == {"tokenFile": str(tmp_path / "token"), "as": "someone"}
    assert proxied["contexts"][0]["context"]["namespace"] == "prod"
    path.with_name("again").write_text(yaml.safe_dump(proxied))
    assert Upstream.read(path.with_name("again")).url == "https://127.0.0.1:1"
    with pytest.raises(UnusableKubeconfig, match="no context 'other'"):
        Upstream.read(path)
